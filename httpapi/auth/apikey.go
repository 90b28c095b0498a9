package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Keys are API keys. Only their SHA-256 is known here, so a leaked configuration
// opens nothing; that is safe because a key is random, not a password.
type Keys struct {
	keys []key
}

type key struct {
	digest   [sha256.Size]byte
	identity Identity
}

// ParseKeys reads keys as name:sha256:scopes, separated by commas or new lines;
// scopes are separated by "+", a line that begins with "#" is a comment:
//
//	shop-backend:2bb80d53…:shop
//	on-call:fcde2b2e…:shop+operator
//
// Two keys may have one name, so that the old one still works while clients change
// over. All mistakes are reported together; digests do not appear in them.
func ParseKeys(text string) (*Keys, error) {
	var keys Keys
	var wrong []error
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for entry := range strings.SplitSeq(line, ",") {
			entry = strings.TrimSpace(entry)
			if entry == "" {
				continue
			}
			k, err := parseKey(entry)
			if err != nil {
				wrong = append(wrong, fmt.Errorf("key %d: %w", len(keys.keys)+len(wrong)+1, err))
				continue
			}
			keys.keys = append(keys.keys, k)
		}
	}
	if len(keys.keys) == 0 && len(wrong) == 0 {
		return nil, errors.New("there is no key; write name:sha256:scopes, e.g. shop-backend:<64 hex digits>:shop")
	}
	return &keys, errors.Join(wrong...)
}

func parseKey(entry string) (key, error) {
	parts := strings.Split(entry, ":")
	if len(parts) != 3 {
		return key{}, fmt.Errorf("it has %d parts between colons; write name:sha256:scopes", len(parts))
	}
	name, scopes := parts[0], strings.Split(parts[2], "+")
	if name == "" {
		return key{}, errors.New("the name is empty")
	}
	digest, err := hex.DecodeString(parts[1])
	if err != nil || len(digest) != sha256.Size {
		return key{}, fmt.Errorf("%s: the second part is not the SHA-256 of the key in 64 hex digits (printf %%s \"$KEY\" | sha256sum)", name)
	}
	for _, s := range scopes {
		if s != Shop && s != Operator {
			return key{}, fmt.Errorf("%s: unknown scope %q; there are %s and %s, joined by +", name, s, Shop, Operator)
		}
	}
	return key{digest: [sha256.Size]byte(digest), identity: Identity{Name: name, Scopes: slices.Clip(scopes)}}, nil
}

// Authenticate compares with every key, in constant time, so that neither a
// near miss nor a place in the list can be told from how long it takes.
func (k *Keys) Authenticate(credential string) (Identity, error) {
	digest := sha256.Sum256([]byte(credential))
	found := -1
	for i := range k.keys {
		if subtle.ConstantTimeCompare(digest[:], k.keys[i].digest[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return Identity{}, fmt.Errorf("unknown API key: %w", ErrRefused)
	}
	return k.keys[found].identity, nil
}
