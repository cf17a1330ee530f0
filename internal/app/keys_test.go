package app_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/config"
)

// provider is an identity provider that publishes its key.
type provider struct {
	url     string
	private ed25519.PrivateKey
	asked   *atomic.Int32
}

func newProvider(t *testing.T) provider {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	asked := &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/jwks.json" {
			http.Redirect(w, r, "/jwks.json", http.StatusFound)
			return
		}
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"p","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))
	t.Cleanup(s.Close)
	return provider{s.URL, private, asked}
}

// token signs for a user; in app, the issuer's name is the app's.
func (p provider) token(t *testing.T, app, user string) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{"iss": app, "sub": user, "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"EdDSA","kid":"p"}`)) + "." + encode(claims)
	return signed + "." + encode(ed25519.Sign(p.private, []byte(signed)))
}

// ask calls with an access token and returns what that came to.
func ask(t *testing.T, a *app.App, jwt string) error {
	t.Helper()
	conn, _ := dial(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+jwt)
	_, err := isonlinev1.NewIsOnlineServiceClient(conn).GetUserIsOnline(ctx, &isonlinev1.GetUserIsOnlineRequest{UserId: "bob"})
	return err
}

// Keys that an issuer publishes are fetched, when they may be.
func TestPublishedKeys(t *testing.T) {
	t.Parallel()
	id := newProvider(t)
	for name, test := range map[string]struct {
		jwt  config.JWT
		want codes.Code
	}{
		"allowed":            {config.JWT{Issuer: "shop", JWKSURL: id.url + "/jwks.json", AllowPrivate: true}, codes.OK},
		"redirected":         {config.JWT{Issuer: "shop", JWKSURL: id.url + "/moved", AllowPrivate: true}, codes.Unavailable},
		"private, forbidden": {config.JWT{Issuer: "shop", JWKSURL: "https" + id.url[len("http"):] + "/jwks.json"}, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := params(t, t.TempDir())
			p.Config.Apps["shop"] = config.App{JWT: test.jwt}
			a := running(t, p)
			if err := ask(t, a, id.token(t, "shop", "alice")); status.Code(err) != test.want {
				t.Errorf("a token of the provider: %v, want %v", err, test.want)
			}
			if err := ask(t, a, newProvider(t).token(t, "shop", "alice")); err == nil {
				t.Error("a token of another key was taken")
			}
		})
	}
}

// A reload keeps what it has of an issuer whose address did not change, begins
// with new ones, and lets go of those that are gone.
func TestPublishedKeysThroughReloads(t *testing.T) {
	t.Parallel()
	first, second := newProvider(t), newProvider(t)
	issuer := func(app string, p provider) config.App {
		return config.App{JWT: config.JWT{Issuer: app, JWKSURL: p.url + "/jwks.json", AllowPrivate: true}}
	}
	p := params(t, t.TempDir())
	p.Config.Apps = map[string]config.App{"shop": issuer("shop", first)}
	a := running(t, p)
	for _, test := range []struct {
		apps       map[string]config.App
		shop, chat codes.Code
	}{
		{map[string]config.App{"shop": issuer("shop", first)}, codes.OK, codes.Unauthenticated},
		{map[string]config.App{"shop": issuer("shop", first), "chat": issuer("chat", second)}, codes.OK, codes.OK},
		{map[string]config.App{"chat": issuer("chat", second)}, codes.Unauthenticated, codes.OK},
	} {
		c := *p.Config
		c.Apps = test.apps
		if err := a.Reload(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
		if err := ask(t, a, first.token(t, "shop", "alice")); status.Code(err) != test.shop {
			t.Errorf("shop: %v, want %v", err, test.shop)
		}
		if err := ask(t, a, second.token(t, "chat", "alice")); status.Code(err) != test.chat {
			t.Errorf("chat: %v, want %v", err, test.chat)
		}
	}
	if n, m := first.asked.Load(), second.asked.Load(); n != 1 || m != 1 {
		t.Errorf("the providers were asked %d and %d times, want once each", n, m)
	}
}
