package rongcloud

import "testing"

// The vectors of the protocol note; the first was published by the vendor
// (docs.rongcloud.cn/im/server/signature).
func TestSignature(t *testing.T) {
	t.Parallel()
	const ours = "plSecret-7hQ2"
	for _, v := range []struct{ name, secret, nonce, timestamp, want string }{
		{"V5, published", "Y1W2MeFwwwRxa0", "14314", "1408710653000", "30be0bbca9c9b2e27578701e9fda2358a814c88f"},
		{"published secret, the document's own request", "Y1W2MeFwwwRxa0", "14314", "1408710653491", "dd11a264276f438b045b3b236a2741ddc89d48df"},
		{"V1", ours, "48213", "1767225600123", "6e0c16b78d2e327e60f71b619ce2534c38f560da"},
		{"V2", ours, "9007199254", "1767225605123", "46390e6c2b5b2c3581d77a8dd76b223d94ea12c3"},
		{"a request of the documents", ours, "14314", "1767225600000", "d0b7d2b78a29b3de11b8b9376f66f6afc8c1e4a5"},
		{"seconds and a nonce of 19 digits, as the Go SDK", ours, "3928947509245219280", "1767225600", "cdb0d726bc3d11cfbde9e5d0d78679f72322be2e"},
		{"a nonce with a dot, as the Java SDK", ours, "345678.90123", "1767225600", "59a6c58e28ca7e0ba1423ab55919368d0d038a1d"},
	} {
		if got := Signature(v.secret, v.nonce, v.timestamp); got != v.want {
			t.Errorf("%s: got %s, want %s", v.name, got, v.want)
		}
		if !signed(v.secret, v.nonce, v.timestamp, v.want) {
			t.Errorf("%s: refused", v.name)
		}
	}
	for name, wrong := range map[string]string{
		"the App Key in place of the secret": "2b30352c114da875ae167b7a7068a0ec55a861df",
		"the secret last":                    "9d590c095385f0af3a59deac40cb0a297d4ae257",
		"the document's placeholder":         "45beb7cc7307889a8e711219a47b7cf6a5b000e8",
		"capitals":                           "6E0C16B78D2E327E60F71B619CE2534C38F560DA",
		"nothing":                            "",
		"a part":                             "6e0c16b78d2e327e60f71b619ce2534c38f560d",
	} {
		if signed(ours, "48213", "1767225600123", wrong) {
			t.Errorf("%s: %s was taken", name, wrong)
		}
	}
}
