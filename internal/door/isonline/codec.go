package isonline

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// frame is a message of the events stream that is encoded already: the head
// (its number) is this watcher's, the body is shared with all others. It is one
// allocation, for there is one for each delivery.
type frame struct {
	room  [12]byte // holds the head
	parts [2]mem.Buffer
}

// Field numbers of ConnectToIsOnlineSessionResponse.
const (
	fieldSequence     = 1
	fieldNotification = 3
)

func newFrame(sequence uint64, body mem.Buffer) *frame {
	f := &frame{}
	head := protowire.AppendTag(f.room[:0], fieldSequence, protowire.VarintType)
	f.parts = [2]mem.Buffer{mem.SliceBuffer(protowire.AppendVarint(head, sequence)), body}
	return f
}

// codec is protobuf, and frames as they are.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name says that the wire format is protobuf's.
func (codec) Name() string { return proto.Name }

// Marshal encodes v, or hands a frame's bytes on without a copy.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return f.parts[:], nil
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
