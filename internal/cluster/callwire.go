package cluster

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
)

// How a question and its answer are written.

// question is a call on its way.
type question struct {
	from   Incarnation
	id     uint64
	heard  uint64 // the highest counter that from had heard of the node it asks
	within time.Duration
	method string
	b      []byte
}

func appendQuestion(dst []byte, q *question) []byte {
	dst = append(dst, Protocol, frameCall)
	dst = binary.LittleEndian.AppendUint64(dst, q.from)
	dst = binary.AppendUvarint(dst, q.id)
	dst = binary.AppendUvarint(dst, q.heard)
	dst = binary.AppendUvarint(dst, uint64(max(q.within, 0)/time.Millisecond))
	dst = appendBytes(dst, q.method)
	return append(dst, q.b...)
}

func parseQuestion(b []byte) (question, error) {
	r := reader{b: b}
	protocol, kind := r.byte(), r.byte()
	q := question{from: r.fixed(), id: r.number(), heard: r.number()}
	q.within = time.Duration(min(r.number(), uint64(time.Hour/time.Millisecond))) * time.Millisecond
	q.method = r.text()
	q.b = r.b
	if r.bad || protocol != Protocol || kind != frameCall || q.id == 0 {
		return question{}, errFrame
	}
	return q, nil
}

// errRemote is in errors that another node gave as text.
var errRemote = errors.New("another node")

// How an answer begins.
const (
	answerGood  = 0
	answerFault = 1
	answerError = 2
)

func appendAnswer(dst, b []byte, err error) []byte {
	if err == nil {
		return append(append(dst, answerGood), b...)
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		return append(append(dst, answerError), err.Error()...)
	}
	dst = appendBytes(append(dst, answerFault), f.Kind.String())
	dst = binary.AppendUvarint(dst, uint64(max(f.RetryAfter, 0)/time.Millisecond))
	dst = appendBytes(dst, f.Detail)
	dst = binary.AppendUvarint(dst, uint64(len(f.Fields)))
	for _, field := range f.Fields {
		dst = appendBytes(appendBytes(dst, field.Path), field.Rule)
	}
	return dst
}

func parseAnswer(b []byte) ([]byte, error) {
	r := reader{b: b}
	switch r.byte() {
	case answerGood:
		if !r.bad {
			return r.b, nil
		}
	case answerError:
		return nil, errors.Join(errRemote, errors.New(strings.ToValidUTF8(string(r.b), "?")))
	case answerFault:
		f := &fault.Error{}
		kind := r.text()
		if i := slices.IndexFunc(fault.Kinds(), func(k fault.Kind) bool { return k.String() == kind }); i >= 0 {
			f.Kind = fault.Kinds()[i]
		}
		f.RetryAfter = time.Duration(min(r.number(), uint64(time.Hour/time.Millisecond))) * time.Millisecond
		f.Detail = string(r.bytes())
		for range r.count() {
			f.Fields = append(f.Fields, fault.Field{Path: string(r.bytes()), Rule: string(r.bytes())})
		}
		if !r.bad {
			return nil, f
		}
	}
	return nil, errFrame
}
