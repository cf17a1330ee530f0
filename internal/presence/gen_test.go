package presence

import (
	"fmt"
	"math"

	"pgregory.net/rapid"
)

// Generators of everything the codec writes. What they draw passes Check, so
// that it can be read back.

func genText(limit int) *rapid.Generator[string] { return rapid.StringN(0, -1, limit) }

func genValue(depth int) *rapid.Generator[Value] {
	return rapid.Custom(func(t *rapid.T) Value {
		kinds := []ValueKind{KindNone, KindText, KindInteger, KindNumber, KindFlag}
		if depth < MaxRefDepth {
			kinds = append(kinds, KindRef)
		}
		v := Value{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
		switch v.Kind {
		case KindText:
			v.Text = genText(40).Draw(t, "text")
		case KindInteger:
			v.Integer = rapid.Int64().Draw(t, "integer")
		case KindNumber:
			v.Number = rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{
				math.NaN(), math.Inf(-1), math.Copysign(0, -1), math.Float64frombits(0x7FF0000000000001),
			})).Draw(t, "number")
		case KindFlag:
			v.Flag = rapid.Bool().Draw(t, "flag")
		case KindRef:
			v.Ref = genRef(depth).Draw(t, "ref")
		}
		return v
	})
}

func genRef(depth int) *rapid.Generator[*Ref] {
	return rapid.Custom(func(t *rapid.T) *Ref {
		return &Ref{
			Token:    rapid.StringN(1, -1, 20).Draw(t, "token"),
			Fallback: genText(20).Draw(t, "fallback"),
			Args:     genProperties(2, depth+1).Draw(t, "args"),
		}
	})
}

func genProperties(most, depth int) *rapid.Generator[[]Property] {
	return rapid.Custom(func(t *rapid.T) []Property {
		keys := rapid.SliceOfNDistinct(rapid.StringN(1, -1, 16), 0, most, rapid.ID).Draw(t, "keys")
		var ps []Property
		for _, k := range keys {
			ps = append(ps, Property{k, genValue(depth).Draw(t, "value")})
		}
		normalizeProperties(ps)
		return ps
	})
}

// genStatus draws nil, too.
func genStatus() *rapid.Generator[*Status] {
	return rapid.Custom(func(t *rapid.T) *Status {
		if rapid.IntRange(0, 3).Draw(t, "none") == 0 {
			return nil
		}
		s := &Status{
			Show:       rapid.SampledFrom([]Show{Online, Away, Busy}).Draw(t, "show"),
			Invisible:  rapid.Bool().Draw(t, "invisible"),
			Properties: genProperties(4, 0).Draw(t, "properties"),
		}
		switch rapid.IntRange(0, 2).Draw(t, "rich text") {
		case 1:
			s.Text = Value{Kind: KindText, Text: rapid.StringN(0, MaxRichText, -1).Draw(t, "literal")}
		case 2:
			s.Text = Value{Kind: KindRef, Ref: genRef(0).Draw(t, "template")}
		}
		return s
	})
}

func genDevice() *rapid.Generator[Device] {
	return rapid.Custom(func(t *rapid.T) (d Device) {
		for _, s := range []*string{&d.Platform, &d.Product, &d.Locale, &d.ID, &d.Version, &d.Addr, &d.Door} {
			*s = genText(24).Draw(t, "device")
		}
		return d
	})
}

func genID() *rapid.Generator[[16]byte] {
	return rapid.Custom(func(t *rapid.T) (id [16]byte) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return id
	})
}

func genUser() *rapid.Generator[User] {
	return rapid.Custom(func(t *rapid.T) User {
		return User{
			App: AppID(rapid.StringMatching(`[a-z0-9]{1,16}`).Draw(t, "app")),
			ID:  UserID(rapid.StringN(1, -1, MaxUserID).Draw(t, "user")),
		}
	})
}

func genEpoch() *rapid.Generator[Epoch] {
	return rapid.Custom(func(t *rapid.T) Epoch {
		return Epoch{rapid.Uint32().Draw(t, "counter"), rapid.Uint64().Draw(t, "incarnation")}
	})
}

// genRecord draws any record that can be written.
func genRecord() *rapid.Generator[Record] {
	return rapid.Custom(func(t *rapid.T) Record {
		return Record{
			Kind:      RecordKind(rapid.IntRange(1, int(recordKindCount)-1).Draw(t, "kind")),
			User:      genUser().Draw(t, "user"),
			Session:   genID().Draw(t, "session"),
			Public:    genID().Draw(t, "public"),
			Epoch:     genEpoch().Draw(t, "epoch"),
			Revision:  rapid.Uint64().Draw(t, "revision"),
			Reason:    Reason(rapid.IntRange(0, int(reasonCount)-1).Draw(t, "reason")),
			Time:      Time(rapid.Int64().Draw(t, "time")),
			Device:    genDevice().Draw(t, "device"),
			Policy:    MultiDevice(rapid.IntRange(0, int(multiDeviceCount)-1).Draw(t, "policy")),
			Invisible: rapid.Bool().Draw(t, "invisible"),
			LastSeen:  Time(rapid.Int64().Draw(t, "last seen")),
			Status:    genStatus().Draw(t, "status"),
		}
	})
}

// genHostile draws records of one user that obey no rule but collide often:
// few sessions, few epochs, few revisions, clocks that jump.
func genHostile() *rapid.Generator[Record] {
	day := int64(24 * 3600 * 1000)
	return rapid.Custom(func(t *rapid.T) Record {
		n := rapid.IntRange(1, 6).Draw(t, "session")
		return Record{
			Kind:     RecordKind(rapid.IntRange(0, int(recordKindCount)).Draw(t, "kind")),
			User:     testUser,
			Session:  sessionID(n),
			Public:   publicID(n),
			Epoch:    Epoch{rapid.Uint32Range(0, 4).Draw(t, "counter"), rapid.Uint64Range(0, 1).Draw(t, "incarnation")},
			Revision: rapid.Uint64Range(0, 30).Draw(t, "revision"),
			Reason:   Reason(rapid.IntRange(0, int(reasonCount)-1).Draw(t, "reason")),
			Time: Time(rapid.OneOf(rapid.Int64Range(0, day/12), rapid.Int64Range(0, 3*day),
				rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64, -1})).Draw(t, "time")),
			Device:    Device{ID: rapid.SampledFrom([]string{"", "a"}).Draw(t, "device"), Platform: rapid.SampledFrom([]string{"ios", "web"}).Draw(t, "platform")},
			Policy:    MultiDevice(rapid.IntRange(0, int(multiDeviceCount)).Draw(t, "policy")),
			Invisible: rapid.Bool().Draw(t, "invisible"),
			LastSeen:  Time(rapid.SampledFrom([]int64{0, 1, day / 24, day}).Draw(t, "last seen")),
			Status:    rapid.SampledFrom([]*Status{nil, {Show: Busy}, {Text: Value{Kind: KindText, Text: "hi"}}}).Draw(t, "status"),
		}
	})
}

var testUser = User{App: "demo", ID: "alice"}

func sessionID(n int) (id SessionID) { copy(id[:], fmt.Sprintf("session %d", n)); return id }
func publicID(n int) (id PublicID)   { copy(id[:], fmt.Sprintf("public %d", n)); return id }
