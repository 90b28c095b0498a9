package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// leeway is how far the clocks of issuer and server may be apart.
	leeway = 60 * time.Second
	// minSecret is the length of HMAC-SHA256's output in bytes; a shorter secret is
	// weaker than the signature (RFC 7518, 3.2).
	minSecret = 32
	// minRSABits is what RFC 7518, 3.3 asks for.
	minRSABits = 2048
)

// Tokens are JWTs of one issuer for one audience. The algorithm belongs to the key,
// never to the token, so a public key cannot be used as an HMAC secret, and "none" is no algorithm.
type Tokens struct {
	keys   []verifier
	parser *jwt.Parser
}

// verifier is one key and the one algorithm it is good for.
type verifier struct {
	id  string // kid; empty where the key has none
	alg string
	key crypto.PublicKey // or the secret, as []byte
}

// TokenConfig says whose tokens are taken. All of Issuer, Audience and exactly one of
// the keys are required.
type TokenConfig struct {
	// Issuer and Audience must be the token's iss, and one of its aud.
	Issuer, Audience string
	// Secret verifies HS256; at least 32 bytes.
	Secret string
	// PublicKey verifies RS256 (RSA, at least 2048 bits) or ES256 (P-256); PEM.
	PublicKey string
	// JWKS is a JSON Web Key Set with RSA and P-256 keys. It is read once; a token's
	// kid chooses the key.
	JWKS string
}

// NewTokens checks the configuration. Errors name what is wrong, never a secret.
func NewTokens(c TokenConfig) (*Tokens, error) {
	if c.Issuer == "" || c.Audience == "" {
		return nil, errors.New("issuer and audience are both needed, or tokens made for others would be taken")
	}
	given := 0
	for _, k := range []string{c.Secret, c.PublicKey, c.JWKS} {
		if k != "" {
			given++
		}
	}
	if given != 1 {
		return nil, fmt.Errorf("%d keys are given; exactly one is needed: a secret, a public key or a key set", given)
	}
	var keys []verifier
	var err error
	switch {
	case c.Secret != "" && len(c.Secret) < minSecret:
		err = fmt.Errorf("the secret has %d bytes; HS256 needs at least %d", len(c.Secret), minSecret)
	case c.Secret != "":
		keys = []verifier{{alg: jwt.SigningMethodHS256.Alg(), key: []byte(c.Secret)}}
	case c.PublicKey != "":
		keys, err = parsePEM(c.PublicKey)
	default:
		keys, err = parseJWKS([]byte(c.JWKS))
	}
	if err != nil {
		return nil, err
	}
	var algs []string
	for _, k := range keys {
		algs = append(algs, k.alg)
	}
	return &Tokens{keys: keys, parser: jwt.NewParser(jwt.WithValidMethods(algs), jwt.WithIssuer(c.Issuer),
		jwt.WithAudience(c.Audience), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithStrictDecoding())}, nil
}

// claims are what is read from a token beside the registered ones. scope is the
// space separated list of RFC 8693.
type claims struct {
	jwt.RegisteredClaims
	Scope string `json:"scope"`
}

// Authenticate verifies signature, iss, aud, exp and nbf. The name is the token's sub.
func (t *Tokens) Authenticate(credential string) (Identity, error) {
	var c claims
	if _, err := t.parser.ParseWithClaims(credential, &c, t.keyFor); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if c.Subject == "" {
		return Identity{}, fmt.Errorf("%w: the token has no sub", ErrRefused)
	}
	return Identity{Name: c.Subject, Scopes: strings.Fields(c.Scope)}, nil
}

func (t *Tokens) keyFor(token *jwt.Token) (any, error) {
	id, _ := token.Header["kid"].(string)
	var fitting []jwt.VerificationKey
	for _, k := range t.keys {
		if k.alg == token.Method.Alg() && (k.id == "" || id == "" || k.id == id) {
			fitting = append(fitting, k.key)
		}
	}
	if len(fitting) == 0 {
		return nil, fmt.Errorf("no key %q for %s", id, token.Method.Alg())
	}
	return jwt.VerificationKeySet{Keys: fitting}, nil
}

func parsePEM(text string) ([]verifier, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("the public key is not one PEM block (-----BEGIN PUBLIC KEY-----)")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if block.Type == "CERTIFICATE" {
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = certificate.PublicKey
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the PEM block %q holds no public key: %w", block.Type, err)
	}
	v, err := verifierFor(key)
	if err != nil {
		return nil, err
	}
	return []verifier{v}, nil
}

func verifierFor(key crypto.PublicKey) (verifier, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSABits {
			return verifier{}, fmt.Errorf("the RSA key has %d bits; RS256 needs at least %d", key.N.BitLen(), minRSABits)
		}
		return verifier{alg: jwt.SigningMethodRS256.Alg(), key: key}, nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return verifier{}, fmt.Errorf("the key is on curve %s; ES256 needs P-256", key.Curve.Params().Name)
		}
		return verifier{alg: jwt.SigningMethodES256.Alg(), key: key}, nil
	}
	return verifier{}, fmt.Errorf("a %T is neither RSA nor P-256", key)
}
