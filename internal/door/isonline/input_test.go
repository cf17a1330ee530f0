package isonline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Short names for what requests are made of.
func text(s string) *isonlinev1.Value {
	return &isonlinev1.Value{Kind: &isonlinev1.Value_Text{Text: s}}
}

func localized(r *isonlinev1.LocalizedRef) *isonlinev1.Value {
	return &isonlinev1.Value{Kind: &isonlinev1.Value_Localized{Localized: r}}
}

func template(r *isonlinev1.LocalizedRef) *isonlinev1.RichText {
	return &isonlinev1.RichText{Kind: &isonlinev1.RichText_Template{Template: r}}
}

func properties(kv ...any) map[string]*isonlinev1.Value {
	m := map[string]*isonlinev1.Value{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1].(*isonlinev1.Value)
	}
	return m
}

// many has n properties.
func many(n int, value string) map[string]*isonlinev1.Value {
	m := map[string]*isonlinev1.Value{}
	for i := range n {
		m[fmt.Sprintf("key%02d", i)] = text(value)
	}
	return m
}

// nested is a reference with references inside, depth in all.
func nested(depth int) *isonlinev1.LocalizedRef {
	r := &isonlinev1.LocalizedRef{Token: "t", FallbackText: "f"}
	for range depth - 1 {
		r = &isonlinev1.LocalizedRef{Token: "t", Args: properties("n", localized(r))}
	}
	return r
}

// badUpdates are refused wherever a status is given; path is within the status.
var badUpdates = []struct {
	name   string
	update *isonlinev1.IsOnlineUpdate
	path   string
}{
	{"status of an unknown number", &isonlinev1.IsOnlineUpdate{Status: 77}, "status"},
	{"status of a negative number", &isonlinev1.IsOnlineUpdate{Status: -1}, "status"},
	{"rich text of 257 characters", &isonlinev1.IsOnlineUpdate{RichText: literal(strings.Repeat("ä", 257))}, "rich_text"},
	{"template without a token", &isonlinev1.IsOnlineUpdate{RichText: template(&isonlinev1.LocalizedRef{FallbackText: "x"})}, "rich_text"},
	{"template with a long token", &isonlinev1.IsOnlineUpdate{RichText: template(&isonlinev1.LocalizedRef{Token: strings.Repeat("t", 257)})}, "rich_text"},
	{"template with a long fallback", &isonlinev1.IsOnlineUpdate{RichText: template(&isonlinev1.LocalizedRef{Token: "t", FallbackText: strings.Repeat("f", 257)})}, "rich_text"},
	{"template too deep", &isonlinev1.IsOnlineUpdate{RichText: template(nested(5))}, `rich_text.template.args["n"].localized.args["n"].localized.args["n"].localized.args["n"].localized`},
	{"33 properties", &isonlinev1.IsOnlineUpdate{Properties: many(33, "v")}, "properties"},
	{"property with an empty key", &isonlinev1.IsOnlineUpdate{Properties: properties("", text("v"))}, `properties[""]`},
	{"property key of 65 bytes", &isonlinev1.IsOnlineUpdate{Properties: properties(strings.Repeat("k", 65), text("v"))}, `properties["` + strings.Repeat("k", 64) + `"]`},
	{"property value of 257 bytes", &isonlinev1.IsOnlineUpdate{Properties: properties("map", text(strings.Repeat("v", 257)))}, `properties["map"]`},
	{"property without a value", &isonlinev1.IsOnlineUpdate{Properties: properties("map", &isonlinev1.Value{})}, `properties["map"]`},
	{"property too deep", &isonlinev1.IsOnlineUpdate{Properties: properties("map", localized(nested(5)))}, `properties["map"].localized.args["n"].localized.args["n"].localized.args["n"].localized.args["n"].localized`},
	{"reference with 33 arguments", &isonlinev1.IsOnlineUpdate{Properties: properties("map", localized(&isonlinev1.LocalizedRef{Token: "t", Args: many(33, "v")}))}, `properties["map"].localized.args`},
	{"more than 8 KiB in all", &isonlinev1.IsOnlineUpdate{Properties: many(32, strings.Repeat("v", 256)), RichText: literal(strings.Repeat("ä", 256))}, ""},
}

// A status that breaks a rule is refused with its path, by each call that takes
// one, and leaves the session as it was.
func TestBadUpdatesAreRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{SessionsPerUser: 50}, admit.Limits{}, func(t *testing.T, n *node) {
		alice := n.device("alice").make()
		alice.connect(nil)
		alice.must(alice.update(&isonlinev1.IsOnlineUpdate{RichText: literal("before"), Properties: properties("kept", text("yes"))}))
		before := alice.query("alice")
		calls := map[string]func(*isonlinev1.IsOnlineUpdate) error{
			"update": alice.update,
			"partial": func(u *isonlinev1.IsOnlineUpdate) error {
				_, err := alice.api.PartialUpdateIsOnlineSession(alice.ctx(), &isonlinev1.PartialUpdateIsOnlineSessionRequest{SessionToken: alice.tok, Update: u})
				return err
			},
			"connect": func(u *isonlinev1.IsOnlineUpdate) error {
				return firstError(n.device("alice").make(), &isonlinev1.ConnectToIsOnlineSessionRequest{Initial: u})
			},
		}
		for _, row := range badUpdates {
			for call, send := range calls {
				wait(time.Second) // below the rate of updates
				root := map[string]string{"connect": "initial"}[call]
				if root == "" {
					root = "update"
				}
				want := root
				if row.path != "" {
					want += "." + row.path
				}
				got := refusalOf(send(row.update))
				if got.code != codes.InvalidArgument || got.reason != "FIELD_INVALID" || !slices.Contains(got.fields, want) {
					t.Errorf("%s by %s: got %v %s at %q, want InvalidArgument FIELD_INVALID at %s", row.name, call, got.code, got.reason, got.fields, want)
				}
			}
		}
		if after := alice.query("alice"); !proto.Equal(before, after) {
			t.Errorf("refused updates changed the session:\n%v\nwant\n%v", after, before)
		}
	})
}

// The largest that is allowed is taken: the bounds are where they are said to be.
func TestLargestUpdatesAreTaken(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		alice := n.device("alice").make()
		alice.connect(nil)
		for name, u := range map[string]*isonlinev1.IsOnlineUpdate{
			"32 properties":                {Properties: many(32, "v")},
			"key of 64 bytes":              {Properties: properties(strings.Repeat("k", 64), text("v"))},
			"value of 256 bytes":           {Properties: properties("k", text(strings.Repeat("v", 256)))},
			"rich text of 256 code points": {RichText: literal(strings.Repeat("ä", 256))},
			"references four deep":         {RichText: template(nested(4)), Properties: properties("m", localized(nested(4)))},
			"nothing at all":               {},
		} {
			if err := alice.update(u); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

const tooLongID = "u23456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

// badUserIDs can name nobody.
var badUserIDs = map[string]string{
	"empty": "", "129 bytes": tooLongID, "a line break": "al\nice", "a zero": "al\x00ice", "delete": "alice\x7f",
}

func TestBadUserIDsAreRefused(t *testing.T) {
	t.Parallel()
	if len(tooLongID) != 129 {
		t.Fatalf("the long id has %d bytes, want 129", len(tooLongID))
	}
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		d := n.device("alice").make()
		d.connect(nil)
		for name, id := range badUserIDs {
			_, get := d.api.GetUserIsOnline(d.ctx(), &isonlinev1.GetUserIsOnlineRequest{UserId: id})
			_, batch := d.api.BatchGetUserIsOnline(d.ctx(), &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: []string{"bob", id}})
			_, subscribe := d.api.SubscribeToUserIsOnline(d.ctx(), &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: d.tok, UserId: id})
			_, unsubscribe := d.api.UnsubscribeFromUserIsOnline(d.ctx(), &isonlinev1.UnsubscribeFromUserIsOnlineRequest{SessionToken: d.tok, UserId: id})
			for call, c := range map[string]struct {
				err  error
				path string
			}{"get": {get, "user_id"}, "batch": {batch, "user_ids[1]"}, "subscribe": {subscribe, "user_id"}, "unsubscribe": {unsubscribe, "user_id"}} {
				wantField(t, name+" in "+call, c.err, c.path)
			}
			r, err := d.api.SubscribeToUsersIsOnline(d.ctx(), &isonlinev1.SubscribeToUsersIsOnlineRequest{SessionToken: d.tok, UserIds: []string{id}})
			if err != nil || !slices.Equal(r.GetRejected(), []string{id}) {
				t.Errorf("%s in a bulk subscription: got rejected %q and %v, want it rejected", name, r.GetRejected(), err)
			}
		}
		if edges := n.hub.Counts().Edges; edges != 0 {
			t.Errorf("%d subscriptions stand after refused ones, want none", edges)
		}
		longest := tooLongID[:128]
		d.subscribe(longest)
		if got := d.query(longest).GetUserId(); got != longest {
			t.Errorf("an id of 128 bytes came back as %q", got)
		}
	})
}

func wantField(t *testing.T, name string, err error, path string) {
	t.Helper()
	got := refusalOf(err)
	if got.code != codes.InvalidArgument || got.reason != "FIELD_INVALID" || !slices.Equal(got.fields, []string{path}) {
		t.Errorf("%s: got %v %s at %q (%s), want InvalidArgument FIELD_INVALID at %s", name, got.code, got.reason, got.fields, got.detail, path)
	}
}

func TestBadFieldsAreRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 65)
	client := func(c *isonlinev1.ClientInfo) func(*device) error {
		return func(d *device) error {
			_, err := d.api.MakeIsOnlineSession(d.ctx(), &isonlinev1.MakeIsOnlineSessionRequest{Client: c})
			return err
		}
	}
	rows := []struct {
		name string
		call func(*device) error
		path string
	}{
		{"long platform", client(&isonlinev1.ClientInfo{Platform: long}), "client.platform"},
		{"long product", client(&isonlinev1.ClientInfo{Product: long}), "client.product"},
		{"long device id", client(&isonlinev1.ClientInfo{DeviceId: long}), "client.device_id"},
		{"long version", client(&isonlinev1.ClientInfo{ClientVersion: long}), "client.client_version"},
		{"control characters", client(&isonlinev1.ClientInfo{Platform: "web\x1b[2J"}), "client.platform"},
		{"long locale", client(&isonlinev1.ClientInfo{Locale: long}), "client.locale"},
		{"locale that is none", client(&isonlinev1.ClientInfo{Locale: "not a locale"}), "client.locale"},
		{"locale of control characters", client(&isonlinev1.ClientInfo{Locale: "en\n"}), "client.locale"},
		{"long idempotency key", func(d *device) error {
			_, err := d.api.MakeIsOnlineSession(d.ctx(), &isonlinev1.MakeIsOnlineSessionRequest{IdempotencyKey: long})
			return err
		}, "idempotency_key"},
		{"locale of a query", func(d *device) error {
			_, err := d.api.GetUserIsOnline(d.ctx(), &isonlinev1.GetUserIsOnlineRequest{UserId: "bob", Locale: "?"})
			return err
		}, "locale"},
		{"locale of a batch", func(d *device) error {
			_, err := d.api.BatchGetUserIsOnline(d.ctx(), &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: []string{"bob"}, Locale: "?"})
			return err
		}, "locale"},
		{"detail of an unknown number", func(d *device) error {
			_, err := d.api.GetUserIsOnline(d.ctx(), &isonlinev1.GetUserIsOnlineRequest{UserId: "bob", Detail: 9})
			return err
		}, "detail"},
		{"detail of an unknown number in a batch", func(d *device) error {
			_, err := d.api.BatchGetUserIsOnline(d.ctx(), &isonlinev1.BatchGetUserIsOnlineRequest{UserIds: []string{"bob"}, Detail: 9})
			return err
		}, "detail"},
		{"mode of an unknown number", func(d *device) error { return closeSession(d, 9) }, "mode"},
		{"too many keys to clear", func(d *device) error {
			keys := slices.Repeat([]string{"k"}, 33)
			_, err := d.api.PartialUpdateIsOnlineSession(d.ctx(), &isonlinev1.PartialUpdateIsOnlineSessionRequest{SessionToken: d.tok, ClearProperties: keys})
			return err
		}, "clear_properties"},
	}
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		d := n.device("alice").make()
		stream := d.connect(nil)
		for _, row := range rows {
			wantField(t, row.name, row.call(d), row.path)
		}
		got := refusalOf(client(&isonlinev1.ClientInfo{Platform: long, Product: long, Locale: "?"})(d))
		if want := []string{"client.platform", "client.product", "client.locale"}; !slices.Equal(got.fields, want) {
			t.Errorf("several at once: got fields %q, want %q", got.fields, want)
		}
		stream.stands()
		if sessions := d.query("alice").GetSessions(); len(sessions) != 1 {
			t.Errorf("alice has %d sessions after refused calls, want the one", len(sessions))
		}
	})
}

// A partial update that would make the whole too large is refused, though its
// part alone is not.
func TestPartialUpdatesAreCheckedAsAWhole(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		d := n.device("alice").make()
		d.connect(nil)
		d.must(d.update(&isonlinev1.IsOnlineUpdate{Properties: many(32, "v")}))
		before := d.query("alice")
		_, err := d.api.PartialUpdateIsOnlineSession(d.ctx(), &isonlinev1.PartialUpdateIsOnlineSessionRequest{
			SessionToken: d.tok, Update: &isonlinev1.IsOnlineUpdate{Properties: properties("one more", text("v"))},
		})
		wantField(t, "the 33rd property", err, "update.properties")
		if after := d.query("alice"); !proto.Equal(before, after) {
			t.Errorf("a refused partial update changed the session: %v", after)
		}
	})
}

// Messages over the door's bound never reach a call, and neither do headers.
func TestOversizedCallsAreRefused(t *testing.T) {
	t.Parallel()
	overDialects(t, dialects, func(t *testing.T, in bubble) {
		in(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
			d := n.device("alice").make()
			stream := d.connect(nil)
			err := d.update(&isonlinev1.IsOnlineUpdate{Properties: properties("k", text(strings.Repeat("v", maxMessage)))})
			if got := refusalOf(err); got.code != codes.ResourceExhausted {
				t.Errorf("a message over %d bytes: got %v, want ResourceExhausted", maxMessage, got.code)
			}
			err = d.update(&isonlinev1.IsOnlineUpdate{Properties: properties("k", text(strings.Repeat("v", maxMessage-1000)))})
			if got := refusalOf(err); got.reason != "FIELD_INVALID" {
				t.Errorf("a message just under the bound: got %v %s, want its content refused: FIELD_INVALID", got.code, got.reason)
			}
			ctx := metadata.AppendToOutgoingContext(d.ctx(), "x-junk", strings.Repeat("j", 2*maxHeaders))
			_, err = d.api.GetUserIsOnline(ctx, &isonlinev1.GetUserIsOnlineRequest{UserId: "alice"})
			if err == nil {
				t.Error("headers over the bound were taken")
			}
			if got := n.device("bob").query("alice"); got.GetUserFlag() != isonlinev1.UserFlag_USER_FLAG_ONLINE {
				t.Errorf("alice is %v after it, want online", got.GetUserFlag())
			}
			stream.take()
		})
	})
}

// Bytes that are no message, or text that is not UTF-8, end the call alone.
func TestBrokenMessagesAreRefused(t *testing.T) {
	t.Parallel()
	notUTF8 := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "al\xffice")
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		d := n.device("alice").make()
		stream := d.connect(nil)
		for name, b := range map[string][]byte{"cut short": {0x0a, 0x05, 'a'}, "not UTF-8": notUTF8, "group without end": {0x0b}} {
			answer := &isonlinev1.GetUserIsOnlineResponse{}
			err := d.conn.Invoke(d.ctx(), isonlinev1.IsOnlineService_GetUserIsOnline_FullMethodName, rawBytes(b), answer, rawCodec())
			if got := refusalOf(err); got.code != codes.Internal {
				t.Errorf("%s: got %v, want Internal, as grpc says for what cannot be decoded", name, got.code)
			}
		}
		stream.stands()
	})
}

// The bound of explicit subscriptions is where it is said to be.
func TestTwoThousandSubscriptions(t *testing.T) {
	t.Parallel()
	inBubble(t, tracker.Policy{}, admit.Limits{}, func(t *testing.T, n *node) {
		d := n.device("alice").make()
		ids := make([]string, 2001)
		for i := range ids {
			ids[i] = fmt.Sprintf("%s%04d", tooLongID[:124], i)
		}
		bulk := func(ids []string) error {
			_, err := d.api.SubscribeToUsersIsOnline(d.ctx(), &isonlinev1.SubscribeToUsersIsOnlineRequest{SessionToken: d.tok, UserIds: ids})
			return err
		}
		if got := refusalOf(bulk(ids)); got.reason != "LIMIT_SUBSCRIPTIONS" {
			t.Errorf("2,001 at once: got %v %s, want LIMIT_SUBSCRIPTIONS", got.code, got.reason)
		}
		d.must(bulk(ids[:2000]))
		if got := refusalOf(bulk(ids[2000:])); got.reason != "LIMIT_SUBSCRIPTIONS" {
			t.Errorf("one more: got %v %s, want LIMIT_SUBSCRIPTIONS", got.code, got.reason)
		}
		d.must(bulk(ids[:2000])) // all watched already
	})
}
