package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"millrace/httpapi/auth"
)

func digest(key string) string { d := sha256.Sum256([]byte(key)); return hex.EncodeToString(d[:]) }

func TestKeys(t *testing.T) {
	keys, err := auth.ParseKeys("# rotated in May\nshop:" + digest("old") + ":shop, shop:" + digest("new") + ":shop\n\nops:" + digest("o") + ":shop+operator\n")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]auth.Identity{
		"old": {Name: "shop", Scopes: []string{"shop"}},
		"new": {Name: "shop", Scopes: []string{"shop"}},
		"o":   {Name: "ops", Scopes: []string{"shop", "operator"}},
	} {
		got, err := keys.Authenticate(key)
		if err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	for _, key := range []string{"", "oldnew", digest("old")} {
		if _, err := keys.Authenticate(key); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestBadKeyListsAreExplained(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "there is no key",
		"# nothing":                    "there is no key",
		"shop:" + digest("a"):          "2 parts",
		":" + digest("a") + ":shop":    "name is empty",
		"shop:abc:shop":                "not the SHA-256",
		"shop:" + digest("a") + ":shp": `unknown scope "shp"`,
		"shop:" + digest("a") + ":":    `unknown scope ""`,
	} {
		_, err := auth.ParseKeys(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), digest("a")) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	_, err := auth.ParseKeys("a,b:" + digest("b") + ":shop,c")
	if err == nil || !strings.Contains(err.Error(), "key 1") || !strings.Contains(err.Error(), "key 3") {
		t.Errorf("not all mistakes at once: %v", err)
	}
}

const secret = "0123456789abcdef0123456789abcdef"

func claims(change map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{"iss": "https://id", "aud": []string{"millrace"}, "sub": "shop-1", "scope": "shop operator", "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range change {
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
	}
	return c
}

func sign(t *testing.T, method jwt.SigningMethod, key any, kid string, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTokenClaims(t *testing.T) {
	tokens, err := auth.NewTokens(auth.TokenConfig{Issuer: "https://id", Audience: "millrace", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	for name, test := range map[string]struct {
		change map[string]any
		ok     bool
	}{
		"good":                  {nil, true},
		"expired within leeway": {map[string]any{"exp": ago(50 * time.Second)}, true},
		"expired":               {map[string]any{"exp": ago(70 * time.Second)}, false},
		"never expires":         {map[string]any{"exp": nil}, false},
		"soon valid":            {map[string]any{"nbf": ago(-50 * time.Second)}, true},
		"not yet valid":         {map[string]any{"nbf": ago(-70 * time.Second)}, false},
		"other issuer":          {map[string]any{"iss": "https://other"}, false},
		"no issuer":             {map[string]any{"iss": nil}, false},
		"other audience":        {map[string]any{"aud": "other"}, false},
		"no audience":           {map[string]any{"aud": nil}, false},
		"no subject":            {map[string]any{"sub": nil}, false},
	} {
		got, err := tokens.Authenticate(sign(t, jwt.SigningMethodHS256, []byte(secret), "", claims(test.change)))
		if (err == nil) != test.ok || err != nil && !errors.Is(err, auth.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(auth.Identity{Name: "shop-1", Scopes: []string{"shop", "operator"}}, got); err == nil && diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got, err := tokens.Authenticate(sign(t, jwt.SigningMethodHS256, []byte(secret), "", claims(map[string]any{"scope": nil}))); err != nil || len(got.Scopes) != 0 {
		t.Errorf("a token without scope: %+v, %v", got, err)
	}
}

func TestForgedTokensAreRefused(t *testing.T) {
	private, public := rsaKey(t)
	tokens, err := auth.NewTokens(auth.TokenConfig{Issuer: "https://id", Audience: "millrace", PublicKey: public})
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, jwt.SigningMethodRS256, private, "", claims(nil))
	if _, err := tokens.Authenticate(good); err != nil {
		t.Fatal(err)
	}
	other, _ := rsaKey(t)
	for name, token := range map[string]string{
		"empty":                     "",
		"garbage":                   "a.b.c",
		"none":                      sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", claims(nil)),
		"public key as HMAC secret": sign(t, jwt.SigningMethodHS256, []byte(public), "", claims(nil)),
		"other key":                 sign(t, jwt.SigningMethodRS256, other, "", claims(nil)),
		"other algorithm":           sign(t, jwt.SigningMethodRS512, private, "", claims(nil)),
		"cut off":                   good[:len(good)-4],
	} {
		if _, err := tokens.Authenticate(token); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeySet(t *testing.T) {
	rsaPrivate, _ := rsaKey(t)
	ecPrivate, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ecPrivate.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{
		{"kty": "oct", "k": "ignored"},
		{"kty": "RSA", "use": "enc", "n": "ignored"},
		{"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": b64(rsaPrivate.N.Bytes()), "e": b64(big.NewInt(int64(rsaPrivate.E)).Bytes())},
		{"kty": "EC", "kid": "e", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
	}})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := auth.NewTokens(auth.TokenConfig{Issuer: "https://id", Audience: "millrace", JWKS: string(set)})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		token string
		ok    bool
	}{
		"RSA":              {sign(t, jwt.SigningMethodRS256, rsaPrivate, "r", claims(nil)), true},
		"EC":               {sign(t, jwt.SigningMethodES256, ecPrivate, "e", claims(nil)), true},
		"without kid":      {sign(t, jwt.SigningMethodES256, ecPrivate, "", claims(nil)), true},
		"unknown kid":      {sign(t, jwt.SigningMethodES256, ecPrivate, "x", claims(nil)), false},
		"another key's id": {sign(t, jwt.SigningMethodES256, ecPrivate, "r", claims(nil)), false},
	} {
		if _, err := tokens.Authenticate(test.token); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadTokenConfigsAreExplained(t *testing.T) {
	_, public := rsaKey(t)
	small, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*auth.TokenConfig)
		want   string
	}{
		"no issuer":    {func(c *auth.TokenConfig) { c.Issuer = "" }, "issuer and audience"},
		"no audience":  {func(c *auth.TokenConfig) { c.Audience = "" }, "issuer and audience"},
		"no key":       {func(c *auth.TokenConfig) { c.Secret = "" }, "0 keys"},
		"two keys":     {func(c *auth.TokenConfig) { c.PublicKey = public }, "2 keys"},
		"short secret": {func(c *auth.TokenConfig) { c.Secret = "hunter2" }, "7 bytes"},
		"no PEM":       {func(c *auth.TokenConfig) { c.Secret, c.PublicKey = "", "hunter2" }, "not one PEM block"},
		"other curve":  {func(c *auth.TokenConfig) { c.Secret, c.PublicKey = "", encode(t, small.Public()) }, "P-384"},
		"no JSON":      {func(c *auth.TokenConfig) { c.Secret, c.JWKS = "", "hunter2" }, "not JSON"},
		"empty set":    {func(c *auth.TokenConfig) { c.Secret, c.JWKS = "", `{"keys":[]}` }, "no signing key"},
		"bad point": {func(c *auth.TokenConfig) {
			c.Secret, c.JWKS = "", `{"keys":[{"kty":"EC","kid":"k","crv":"P-256","x":"AA","y":"AA"}]}`
		}, `kid "k"`},
		"bad exponent": {func(c *auth.TokenConfig) { c.Secret, c.JWKS = "", `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQ"}]}` }, "no exponent"},
		"small RSA":    {func(c *auth.TokenConfig) { c.Secret, c.JWKS = "", `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}` }, "17 bits"},
	} {
		c := auth.TokenConfig{Issuer: "i", Audience: "a", Secret: secret}
		test.change(&c)
		if _, err := auth.NewTokens(c); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func rsaKey(t *testing.T) (private *rsa.PrivateKey, public string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return private, encode(t, private.Public())
}

func encode(t *testing.T, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}
