package publisher

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// The stored forms are JSON objects behind a version: they are written seldom, and
// people may have to read them.
const version = 1

// errStored is what is wrong with a value that cannot be read.
var errStored = errors.New("the stored value is of a newer version, or damaged; restore the data directory from a backup, or start the version that wrote it")

// card is a publisher on disk.
type card struct {
	App         presence.AppID  `json:"app"`
	Owner       presence.UserID `json:"owner"`
	Domain      string          `json:"domain"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Email       string          `json:"email"`
	State       State           `json:"state"`
	Proof       string          `json:"proof"`
	KeyHash     []byte          `json:"key_hash,omitempty"`
	Created     presence.Time   `json:"created"`
}

// folder is what a user granted and registered, on disk.
type folder struct {
	Grants []entry  `json:"grants,omitempty"`
	Owned  []string `json:"owned,omitempty"` // ids of publishers
}

// entry is a grant in a folder. One that is revoked stays until the publisher's
// queue has it and the uid leads nowhere.
type entry struct {
	Publisher string        `json:"p"`
	UID       string        `json:"uid"`
	Label     string        `json:"label,omitempty"`
	At        presence.Time `json:"at"`
	Revoked   presence.Time `json:"revoked,omitempty"`
}

// holder is whose a uid is, on disk.
type holder struct {
	App       presence.AppID  `json:"app"`
	User      presence.UserID `json:"user"`
	Publisher string          `json:"p"`
}

// promise is whose revocation was begun, on disk until it is finished.
type promise struct {
	App  presence.AppID  `json:"app"`
	User presence.UserID `json:"user"`
	At   presence.Time   `json:"at"`
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // numbers, texts and lists
	}
	return append([]byte{version}, b...)
}

func decode(b []byte, v any) error {
	if len(b) == 0 || b[0] != version || json.Unmarshal(b[1:], v) != nil {
		return errStored
	}
	return nil
}

// parseCard reads a stored publisher.
func parseCard(n store.Named) (Publisher, error) {
	var c card
	err := decode(n.Value, &c)
	if err == nil && (!ValidID(n.Name) || c.State < Registered || c.State > Active || c.State == Active && len(c.KeyHash) == 0 ||
		!presence.ValidAppID(string(c.App)) || !presence.ValidUserID(string(c.Owner))) {
		err = errStored
	}
	if err != nil {
		return Publisher{}, fmt.Errorf("publisher %s: %w", n.Name, err)
	}
	p := Publisher{
		ID: n.Name, App: c.App, Owner: c.Owner, State: c.State, Proof: c.Proof, Created: c.Created, revision: n.Revision,
		Registration: Registration{Domain: c.Domain, Name: c.Name, Description: c.Description, Email: c.Email},
	}
	copy(p.keyHash[:], c.KeyHash)
	return p, nil
}

func (p *Publisher) encode() []byte {
	c := card{
		App: p.App, Owner: p.Owner, Domain: p.Domain, Name: p.Name, Description: p.Description, Email: p.Email,
		State: p.State, Proof: p.Proof, Created: p.Created,
	}
	if p.State == Active {
		c.KeyHash = p.keyHash[:]
	}
	return encode(c)
}

// grant is the entry of a user in full.
func (e *entry) grant(user presence.User) Grant {
	return Grant{Publisher: e.Publisher, User: user, UID: e.UID, Label: e.Label, At: e.At}
}

// live finds the grant of a publisher that counts.
func (f *folder) live(publisher string) *entry {
	for i := range f.Grants {
		if e := &f.Grants[i]; e.Publisher == publisher && e.Revoked == 0 {
			return e
		}
	}
	return nil
}

func (f *folder) encode() []byte {
	if len(f.Grants)+len(f.Owned) == 0 {
		return nil
	}
	return encode(f)
}
