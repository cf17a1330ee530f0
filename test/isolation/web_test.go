package isolation

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// web is a connection that makes its calls on the HTTP port, with JSON over
// Connect as a web page does. Its streams stay on gRPC.
type web struct {
	*grpc.ClientConn
	world *world
}

// Invoke makes one call.
func (c *web) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	text, err := protojson.Marshal(args.(proto.Message))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://porchlight"+method, bytes.NewReader(text))
	if err != nil {
		return err
	}
	sent, _ := metadata.FromOutgoingContext(ctx)
	req.Header["Authorization"] = sent["authorization"]
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.world.backend.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if text, err = io.ReadAll(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		return protojson.Unmarshal(text, reply.(proto.Message))
	}
	return &webError{string(text)}
}

// webError is an error as Connect writes it: all of it is compared.
type webError struct{ text string }

// Error is the whole answer.
func (e *webError) Error() string { return e.text }

// reason is what the answer's details call it.
func (e *webError) reason() string {
	var answer struct {
		Details []struct{ Debug struct{ Reason string } }
	}
	if json.Unmarshal([]byte(e.text), &answer) != nil || len(answer.Details) == 0 {
		return ""
	}
	return answer.Details[0].Debug.Reason
}
