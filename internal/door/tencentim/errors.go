package tencentim

import "fmt"

// The interface's codes that this door answers with.
const (
	codeOK = 0

	codeHTTP         = 60002 // the request does not arrive as one
	codeJSON         = 60003
	codeIdentifier   = 60004 // missing
	codeNoSig        = 60005 // missing
	codeAppInvalid   = 60006 // no number
	codeFrequent     = 60007
	codeResource     = 60009 // nothing at this path
	codeNoApp        = 60012 // sdkappid is missing
	codeSigExpired   = 70001
	codeSigParse     = 70003
	codeSigWrong     = 70009
	codeSigUser      = 70013
	codeSigApp       = 70014
	codeNoKey        = 70016 // the app has no key here
	codeAppUnknown   = 70020
	codeUnknownUser  = 70107 // what cannot be a user's id
	codeTimeOut      = 70169 // of kick
	codeParameter    = 70402 // of kick
	codeKickAdmin    = 70403
	codeKickInternal = 70500

	// Those of openim, the queries.
	codeQueryBody     = 90001 // no JSON, or nobody is asked for
	codeQueryAccounts = 90003 // To_Account is no list of texts
	codeQueryAdmin    = 90009
	codeQueryMany     = 90011
	codeQueryTimeOut  = 90992
	codeQueryInternal = 91000
)

// refusal is an answer that is not OK.
type refusal struct {
	Code int
	Text string
}

func refuse(code int, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// result begins every answer.
type result struct {
	Status string `json:"ActionStatus"` // OK or FAIL
	Text   string `json:"ErrorInfo"`
	Code   int    `json:"ErrorCode"`
}

var ok = result{Status: "OK"}

func (r *refusal) result() result { return result{"FAIL", r.Text, r.Code} }
