package rongcloud

import (
	"fmt"
	"net/http"
)

// The interface's codes that this door answers with. The table of its vendor has
// more, which mean nothing here (1006 and 1007, app locked or forbidden; 1009,
// service not opened; 2007, limit of a test account).
const (
	codeOK        = 200
	codePath      = 404
	codeInternal  = 1000
	codeApp       = 1001 // no app has the key
	codeParameter = 1002
	codeNoBody    = 1003
	codeSignature = 1004
	codeTooLong   = 1005
	codeRate      = 1008
	codeTimeOut   = 1050
)

// statusOf is the door's one table of codes: the HTTP status that goes with each.
func statusOf(code int) int {
	switch code {
	case codeOK:
		return http.StatusOK
	case codePath:
		return http.StatusNotFound
	case codeApp, codeSignature:
		return http.StatusUnauthorized
	case codeParameter, codeNoBody, codeTooLong:
		return http.StatusBadRequest
	case codeRate:
		return http.StatusTooManyRequests
	case codeTimeOut:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// refusal is an answer that is not 200. It is JSON whatever the request was:
// clients read nothing else.
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"errorMessage"`
}

// Error says it for the log.
func (r *refusal) Error() string { return fmt.Sprintf("%d: %s", r.Code, r.Message) }

func refuse(code int, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}
