package token

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/porchlight-dev/porchlight/internal/fault"
)

// TestTopicsClaim: what a token says of topics is read, also from memory; what it
// should not say is refused without its words.
func TestTopicsClaim(t *testing.T) {
	t.Parallel()
	now := time.Now()
	iss := Development()
	v, err := NewVerifier([]Issuer{iss}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	want := Topics{Subscribe: []string{"a", "b,c"}, Attributes: []Publication{{"onlineStatus", "a"}}}
	raw, err := SignClaims(iss, Claims{User: "alice", TTL: time.Hour, Topics: &want}, now)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second is remembered
		if a, err := v.Verify(t.Context(), raw); err != nil || !reflect.DeepEqual(*a.Topics, want) {
			t.Fatalf("got %+v, %v, want %+v", a, err, want)
		}
	}
	for _, bad := range []any{"agents", []string{"agents"}, map[string]any{"subscribe": "agents"}, map[string]any{"attributes": map[string]any{"secret": 1}}, 5} {
		raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": iss.Issuer, "aud": iss.Audience, "exp": now.Add(time.Hour).Unix(), iss.userClaim(): "alice", TopicsClaim: bad,
		}).SignedString(iss.Keys[0].Secret)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), raw); fault.KindOf(err) != fault.JWTInvalid || !strings.Contains(err.Error(), TopicsClaim) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: got %v, want JWT_INVALID that names the claim", bad, err)
		}
	}
}
