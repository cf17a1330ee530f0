package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

const vendorSecret = "the secret of a vendor's key, of some length"

func vendorSecretOf(issuer string) []byte {
	if issuer == "SK.1" {
		return []byte(vendorSecret)
	}
	return nil
}

func vendorToken(t testing.TB, claims map[string]any) string {
	t.Helper()
	raw, err := SignVendor(map[string]any{"cty": "x;v=1"}, claims, []byte(vendorSecret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestOpenVendor(t *testing.T) {
	t.Parallel()
	v, err := OpenVendor(vendorToken(t, map[string]any{"iss": "SK.1", "n": 12345678901234567}), vendorSecretOf)
	if err != nil || v.Issuer != "SK.1" || v.Header["cty"] != "x;v=1" || !strings.Contains(string(v.Claims), "12345678901234567") {
		t.Errorf("got %+v, %s, %v", v, v.Claims, err)
	}
}

func TestOpenVendorRefuses(t *testing.T) {
	t.Parallel()
	good := vendorToken(t, map[string]any{"iss": "SK.1"})
	parts := strings.Split(good, ".")
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	foreign, err := Sign(Development(), "alice", time.Hour, noon)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		raw  string
		want error
	}{
		"empty":                  {"", ErrForm},
		"no JWT":                 {"hello", ErrForm},
		"two parts":              {parts[0] + "." + parts[1], ErrForm},
		"four parts":             {good + ".x", ErrForm},
		"other characters":       {parts[0] + "." + parts[1] + "." + parts[2] + "\n", ErrForm},
		"too long":               {parts[0] + "." + strings.Repeat("A", MaxAccessToken) + "." + parts[2], ErrForm},
		"header is no base64":    {"A." + parts[1] + "." + parts[2], ErrDecode},
		"header is no JSON":      {b64("hello") + "." + parts[1] + "." + parts[2], ErrDecode},
		"header is no object":    {b64("[]") + "." + parts[1] + "." + parts[2], ErrDecode},
		"claims are no object":   {parts[0] + "." + b64("null") + "." + parts[2], ErrDecode},
		"empty parts":            {"..", ErrDecode},
		"signature is no base64": {parts[0] + "." + parts[1] + ".A", ErrDecode},
		"alg none":               {b64(`{"alg":"none"}`) + "." + parts[1] + ".", ErrAlgorithm},
		"alg HS512":              {b64(`{"alg":"HS512"}`) + "." + parts[1] + "." + parts[2], ErrAlgorithm},
		"alg RS256":              {b64(`{"alg":"RS256"}`) + "." + parts[1] + "." + parts[2], ErrAlgorithm},
		"alg in another case":    {b64(`{"alg":"hs256"}`) + "." + parts[1] + "." + parts[2], ErrAlgorithm},
		"no alg":                 {b64(`{}`) + "." + parts[1] + "." + parts[2], ErrAlgorithm},
		"a critical extension":   {b64(`{"alg":"HS256","crit":["x"]}`) + "." + parts[1] + "." + parts[2], ErrAlgorithm},
		"no iss":                 {vendorToken(t, map[string]any{}), ErrIssuer},
		"iss is a number":        {vendorToken(t, map[string]any{"iss": 1}), ErrIssuer},
		"iss is not known":       {vendorToken(t, map[string]any{"iss": "SK.2"}), ErrIssuer},
		"of another interface":   {foreign, ErrIssuer},
		"claims were altered":    {parts[0] + "." + b64(`{"iss":"SK.1","x":1}`) + "." + parts[2], ErrSignature},
		"signature is cut":       {parts[0] + "." + parts[1] + "." + parts[2][:40], ErrSignature},
		"no signature":           {parts[0] + "." + parts[1] + ".", ErrSignature},
	} {
		if _, err := OpenVendor(row.raw, vendorSecretOf); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", name, err, row.want)
		}
	}
}

func TestVendorTime(t *testing.T) {
	t.Parallel()
	for claim, want := range map[string]int64{"0": 0, "1555197947": 1555197947, "1555197947.9": 1555197947, "253402300799": 253402300799} {
		if at, ok := VendorTime(json.RawMessage(claim)); !ok || at.Unix() != want {
			t.Errorf("%s: got %v, %v", claim, at, ok)
		}
	}
	for _, claim := range []string{"", "null", `"1555197947"`, "-1", "253402300800", "1e400", "true", "{}"} {
		if at, ok := VendorTime(json.RawMessage(claim)); ok {
			t.Errorf("%s: got %v", claim, at)
		}
	}
}

// Whatever comes, one of the five errors is the answer, or it was signed.
func FuzzOpenVendor(f *testing.F) {
	f.Add(vendorToken(f, map[string]any{"iss": "SK.1", "exp": 1}))
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := OpenVendor(raw, vendorSecretOf)
		for _, known := range []error{nil, ErrForm, ErrDecode, ErrAlgorithm, ErrIssuer, ErrSignature} {
			if err == known {
				return
			}
		}
		t.Errorf("%q: %v", raw, err)
	})
}
