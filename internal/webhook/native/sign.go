package native

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Message is what is signed: id, time and body.
type Message struct {
	ID   string
	Time time.Time
	Body []byte
}

// Sign sets the headers of m: the signed content is id.timestamp.body.
func (s *Signer) Sign(h http.Header, m Message) {
	at := strconv.FormatInt(m.Time.Unix(), 10)
	var all strings.Builder
	for i, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(m.ID + "." + at + "."))
		mac.Write(m.Body)
		if i > 0 {
			all.WriteByte(' ')
		}
		all.WriteString("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h.Set("Webhook-Id", m.ID)
	h.Set("Webhook-Timestamp", at)
	h.Set("Webhook-Signature", all.String())
}
