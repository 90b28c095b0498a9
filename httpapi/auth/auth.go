// Package auth tells who presents a credential, and what they may do. It knows
// API keys and JWTs; nothing here goes over the network.
package auth

import "errors"

// The scopes there are.
const (
	// Shop may place, read and cancel orders: the shop's back end.
	Shop = "shop"
	// Operator may settle what the system cannot settle alone.
	Operator = "operator"
)

// ErrRefused is wrapped by every refusal. The text around it says why, for the
// log; a client is told no more than that it was refused.
var ErrRefused = errors.New("credential refused")

// Identity is who calls.
type Identity struct {
	// Name is the API key's name or the token's subject. It scopes idempotency keys.
	Name string
	// Scopes is what the caller may do.
	Scopes []string
}

// Authenticator knows callers by their credential: the value of X-API-Key, or
// what follows "Bearer" in Authorization.
type Authenticator interface {
	// Authenticate returns who it is, or an error for which errors.Is(err, ErrRefused) holds.
	Authenticate(credential string) (Identity, error)
}
