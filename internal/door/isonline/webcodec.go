package isonline

import (
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// body is the notification field of a stream's message, encoded once for all
// its watchers. Who reads JSON shares that as well, made when it is first asked
// for.
type body struct {
	mem.SliceBuffer
	asJSON atomic.Pointer[[]byte]
}

// json is the IsOnlineNotification in it.
func (b *body) json() ([]byte, error) {
	if text := b.asJSON.Load(); text != nil {
		return *text, nil
	}
	_, _, n := protowire.ConsumeTag(b.SliceBuffer)
	if n < 0 {
		return nil, protowire.ParseError(n)
	}
	wire, n := protowire.ConsumeBytes(b.SliceBuffer[n:])
	if n < 0 {
		return nil, protowire.ParseError(n)
	}
	m := &isonlinev1.IsOnlineNotification{}
	if err := proto.Unmarshal(wire, m); err != nil {
		return nil, err
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	b.asJSON.Store(&text)
	return text, nil
}

// appendJSON appends the message that the frame stands for.
func (f *frame) appendJSON(dst []byte) ([]byte, error) {
	b, ok := f.parts[1].(*body)
	if !ok {
		return nil, fmt.Errorf("isonline: a frame of %T has no JSON", f.parts[1])
	}
	text, err := b.json()
	if err != nil {
		return nil, err
	}
	head := f.parts[0].ReadOnlyData()
	_, tag := protowire.ConsumeVarint(head)
	sequence, _ := protowire.ConsumeVarint(head[tag:])
	// 64-bit numbers are text in protobuf's JSON.
	dst = append(dst, `{"sequence":"`...)
	dst = strconv.AppendUint(dst, sequence, 10)
	dst = append(dst, `","notification":`...)
	return append(append(dst, text...), '}'), nil
}

// errNotProto says that a codec got what is no message: a defect.
var errNotProto = errors.New("isonline: not a protobuf message")

// webBinary is protobuf on the HTTP port, and frames as they are.
type webBinary struct{}

// Name is the content type's.
func (webBinary) Name() string { return "proto" }

// Marshal encodes v.
func (c webBinary) Marshal(v any) ([]byte, error) { return c.MarshalAppend(nil, v) }

// MarshalAppend encodes v behind dst, which connect lends.
func (webBinary) MarshalAppend(dst []byte, v any) ([]byte, error) {
	if out, ok := v.(*outgoing); ok {
		v = out.message
	}
	switch m := v.(type) {
	case *frame:
		return append(append(dst, m.parts[0].ReadOnlyData()...), m.parts[1].ReadOnlyData()...), nil
	case proto.Message:
		return proto.MarshalOptions{}.MarshalAppend(dst, m)
	}
	return nil, errNotProto
}

// Unmarshal decodes protobuf.
func (webBinary) Unmarshal(b []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return errNotProto
	}
	return proto.Unmarshal(b, m)
}

// webJSON is protobuf's JSON. Fields that it does not know are no error, as in
// binary: a newer caller may speak to an older node.
type webJSON struct{ name string }

// Name is the content type's.
func (c webJSON) Name() string { return c.name }

// Marshal encodes v.
func (c webJSON) Marshal(v any) ([]byte, error) { return c.MarshalAppend(nil, v) }

// MarshalAppend encodes v behind dst, which connect lends.
func (webJSON) MarshalAppend(dst []byte, v any) ([]byte, error) {
	if out, ok := v.(*outgoing); ok {
		v = out.message
	}
	switch m := v.(type) {
	case *frame:
		return m.appendJSON(dst)
	case proto.Message:
		return protojson.MarshalOptions{}.MarshalAppend(dst, m)
	}
	return nil, errNotProto
}

// Unmarshal decodes JSON.
func (webJSON) Unmarshal(b []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return errNotProto
	}
	if len(b) == 0 {
		return errors.New("the body is empty; a request without fields is {}")
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, m)
}
