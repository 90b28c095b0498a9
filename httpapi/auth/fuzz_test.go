package auth_test

import (
	"errors"
	"strings"
	"testing"

	"millrace/httpapi/auth"
)

// FuzzCredential: whatever stands in the header, it is refused, unless it is the key itself.
func FuzzCredential(f *testing.F) {
	keys, err := auth.ParseKeys("shop:" + digest("the key") + ":shop")
	if err != nil {
		f.Fatal(err)
	}
	tokens, err := auth.NewTokens(auth.TokenConfig{Issuer: "issuer", Audience: "audience", Secret: strings.Repeat("s", 32)})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "the key", "..", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "eyJhbGciOiJIUzI1NiJ9.eyJhdWQiOltbXV19.x", digest("the key")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, credential string) {
		if who, err := keys.Authenticate(credential); credential != "the key" && !errors.Is(err, auth.ErrRefused) {
			t.Errorf("%q is %+v, %v", credential, who, err)
		}
		if who, err := tokens.Authenticate(credential); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("%q is %+v, %v", credential, who, err)
		}
	})
}

// FuzzKeys: a list of keys is understood or refused, and what was refused is not repeated: it may be a key.
func FuzzKeys(f *testing.F) {
	for _, seed := range []string{"", "# none", "shop:" + digest("k") + ":shop", "a:b:c", "shop:" + digest("k") + ":shop+operator,\n,", ":::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := auth.ParseKeys(text)
		if err != nil {
			return
		}
		if _, err := keys.Authenticate("no such key"); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("%q lets everybody in: %v", text, err)
		}
	})
}
