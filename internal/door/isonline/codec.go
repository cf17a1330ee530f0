package isonline

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// frame is a message of the events stream that is encoded already: the head
// (its number) is this watcher's, the body is shared with all others.
type frame struct {
	head []byte
	body mem.Buffer
}

// Field numbers of ConnectToIsOnlineSessionResponse.
const (
	fieldSequence     = 1
	fieldNotification = 3
)

func newFrame(sequence uint64, body mem.Buffer) *frame {
	head := make([]byte, 0, 12)
	head = protowire.AppendTag(head, fieldSequence, protowire.VarintType)
	return &frame{protowire.AppendVarint(head, sequence), body}
}

// codec is protobuf, and frames as they are.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name says that the wire format is protobuf's.
func (codec) Name() string { return proto.Name }

// Marshal encodes v, or hands a frame's bytes on without a copy.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return mem.BufferSlice{mem.SliceBuffer(f.head), f.body}, nil
	}
	c := encoding.GetCodecV2(proto.Name)
	if c == nil {
		return nil, fmt.Errorf("isonline: grpc has no %s codec", proto.Name)
	}
	return c.Marshal(v)
}

// Unmarshal decodes protobuf.
func (codec) Unmarshal(b mem.BufferSlice, v any) error {
	c := encoding.GetCodecV2(proto.Name)
	if c == nil {
		return fmt.Errorf("isonline: grpc has no %s codec", proto.Name)
	}
	return c.Unmarshal(b, v)
}
