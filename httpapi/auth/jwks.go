package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// jwk is a JSON Web Key as far as RSA and P-256 need it (RFC 7517, 7518).
type jwk struct {
	KeyType   string `json:"kty"`
	ID        string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	Curve     string `json:"crv"`
	N         string `json:"n"`
	E         string `json:"e"`
	X         string `json:"x"`
	Y         string `json:"y"`
}

// parseJWKS takes the signing keys it knows. Others in the set, such as keys for
// encryption or of new kinds, are not for us and left out.
func parseJWKS(text []byte) ([]verifier, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("the key set is not JSON ({\"keys\": [ … ]}): %w", err)
	}
	var keys []verifier
	for i, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		var key any
		var err error
		switch k.KeyType {
		case "RSA":
			key, err = k.rsa()
		case "EC":
			key, err = k.ecdsa()
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("key %d (kid %q) of the set: %w", i+1, k.ID, err)
		}
		v, err := verifierFor(key)
		if err != nil {
			return nil, fmt.Errorf("key %d (kid %q) of the set: %w", i+1, k.ID, err)
		}
		if k.Algorithm != "" && k.Algorithm != v.alg {
			continue
		}
		v.id = k.ID
		keys = append(keys, v)
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no signing key for RS256 or ES256")
	}
	return keys, nil
}

func (k jwk) rsa() (*rsa.PublicKey, error) {
	n, err1 := base64.RawURLEncoding.DecodeString(k.N)
	e, err2 := base64.RawURLEncoding.DecodeString(k.E)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("n or e is not base64url: %w", err)
	}
	exponent := new(big.Int).SetBytes(e)
	// Three is the smallest odd exponent there is; crypto/rsa itself takes 31 bits at most.
	const smallest, bits = 3, 31
	if exponent.BitLen() > bits || exponent.Int64() < smallest {
		return nil, errors.New("e is no exponent of an RSA key")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
}

func (k jwk) ecdsa() (*ecdsa.PublicKey, error) {
	if k.Curve != "P-256" {
		return nil, fmt.Errorf("curve %q; ES256 needs P-256", k.Curve)
	}
	x, err1 := base64.RawURLEncoding.DecodeString(k.X)
	y, err2 := base64.RawURLEncoding.DecodeString(k.Y)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("x or y is not base64url: %w", err)
	}
	// Uncompressed point: 4, x, y. Parsing it checks that the point is on the curve.
	const uncompressed = 4
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{uncompressed}, x...), y...))
	if err != nil {
		return nil, fmt.Errorf("x and y are no point of P-256: %w", err)
	}
	return key, nil
}
