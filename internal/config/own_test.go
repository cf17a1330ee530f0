package config

import (
	"strings"
	"testing"
)

// Where a door alone answers: an address, and the name of a host.
func TestOwnPlacesOfDoors(t *testing.T) {
	t.Parallel()
	const app = "apps: {a: {jwt: {issuer: i, keys: [{secret: " + secret + "}]}}}\n"
	c, err := Parse([]byte(app+"listen: {rongcloud: {listen: 127.0.0.1:7410, host: api.example.com}, tencentim: {host: tim.example.com}}\n"), "PORCHLIGHT_LISTEN_TENCENTIM_LISTEN=:7411")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.RongCloud != (Own{"127.0.0.1:7410", "api.example.com"}) || c.Listen.TencentIM != (Own{":7411", "tim.example.com"}) {
		t.Errorf("got %+v", c.Listen)
	}
	for bad, want := range map[string]string{
		"rongcloud: {listen: nowhere}": "listen.rongcloud.listen", "tencentim: {listen: 1.2.3.4}": "listen.tencentim.listen", "rongcloud: {host: \"https://api.example.com\"}": "listen.rongcloud.host",
		"rongcloud: {host: \"api.example.com:80\"}": "listen.rongcloud.host", "tencentim: {host: api.example.com/v4}": "listen.tencentim.host", "tencentim: {host: \"a b\"}": "listen.tencentim.host",
		"rongcloud: {host: a.example}, tencentim: {host: A.example}": "rongcloud has the same", "rongcloud: {port: 1}": "port",
		"stringee: {listen: nowhere}": "listen.stringee.listen", "stringee: {host: \"a b\"}": "listen.stringee.host", "tencentim: {host: a.example}, stringee: {host: A.example}": "tencentim has the same",
		"mozpresence: {listen: nowhere}": "listen.mozpresence.listen", "mozpresence: {host: \"a b\"}": "listen.mozpresence.host",
		"rongcloud: {host: a.example}, mozpresence: {host: A.example}": "rongcloud has the same", "tencentim: {host: a.example}, mozpresence: {host: A.example}": "tencentim has the same",
		"stringee: {host: a.example}, mozpresence: {host: A.example}": "stringee has the same", "grpc: 127.0.0.1:7410, mozpresence: {listen: 127.0.0.1:7410}": "listen.grpc has the same address",
		"stringee: {addresses: [presence.example]}": "listen.stringee.addresses[0]", "stringee: {addresses: [\":443\"]}": "listen.stringee.addresses[0]",
		"stringee: {elsewhere: [\"https://x.example\"]}": "listen.stringee.elsewhere[0]", "stringee: {elsewhere: [\"ws://a@x.example\"]}": "listen.stringee.elsewhere[0]",
		"stringee: {elsewhere: [" + strings.Repeat("\"ws://x\",", 17) + "]}": "listen.stringee.elsewhere",
	} {
		if _, err := Parse([]byte(app + "listen: {" + bad + "}\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it refused with %q", bad, err, want)
		}
	}
}
