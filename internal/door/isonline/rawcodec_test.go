package isonline

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// rawBytes is a message that is sent as it is.
type rawBytes []byte

// rawCodec is a call option that sends rawBytes as they are.
func rawCodec() grpc.CallOption { return grpc.ForceCodecV2(asIs{}) }

type asIs struct{}

// Name is that of protobuf, as a peer with a bug would say.
func (asIs) Name() string { return proto.Name }

// Marshal hands bytes on.
func (asIs) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.(rawBytes))}, nil
}

// Unmarshal reads protobuf.
func (asIs) Unmarshal(b mem.BufferSlice, v any) error {
	return encoding.GetCodecV2(proto.Name).Unmarshal(b, v)
}
