// Package signature signs and verifies the callbacks that payment providers and
// carriers send: an HMAC-SHA256 over the time and the body, so that nobody without
// the secret can invent a callback, change one, or send an old one again later.
//
// Within Window the same callback can be sent again and still verifies: receivers
// make that harmless by remembering the callback's id.
package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Header is the HTTP header that carries the signature: "t=<unix seconds>,v1=<hex>".
const Header = "X-Signature"

// Window is how far a signature's time may lie from the receiver's clock, in
// either direction: long enough for retries and clocks that differ, short enough
// that a recorded callback is soon worthless.
const Window = 5 * time.Minute

// maxHeader bounds what is parsed; a well-formed header has some 85 characters.
const maxHeader = 256

// The ways a signature can be refused. A sender is told no more than that it was
// refused; these are for the log.
var (
	// ErrMalformed means the header is missing or not of the form t=…,v1=….
	ErrMalformed = errors.New("signature: malformed, want t=<unix seconds>,v1=<hex of 32 bytes>")
	// ErrMismatch means the body, the time or the secret is not the one that was signed.
	ErrMismatch = errors.New("signature: does not match the body")
	// ErrStale means the signature is right, but its time lies outside Window.
	ErrStale = errors.New("signature: outside the accepted time window")
	// ErrNoSecret means the receiver has no secret: nothing can be verified, so all is refused.
	ErrNoSecret = errors.New("signature: no secret configured")
)

// Sign returns the header's value for body, sent at the given time. The secret
// must not be empty: Verify refuses whatever was signed with nothing.
func Sign(secret, body []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(digest(secret, body, t))
}

// Verify checks the header's value against the body as it was received, byte for
// byte. The comparison takes the same time wherever the digests differ.
func Verify(secret, body []byte, header string, now time.Time) error {
	if len(secret) == 0 {
		return ErrNoSecret
	}
	t, sum, err := parse(header)
	if err != nil {
		return err
	}
	if !hmac.Equal(sum, digest(secret, body, t)) {
		return ErrMismatch
	}
	// After the digest, so that only a holder of the secret learns about clocks.
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: time: %w", ErrMalformed, err)
	}
	// Compared as seconds: the difference of far apart times does not fit a Duration.
	limit := int64(Window / time.Second)
	if seconds < now.Unix()-limit || seconds > now.Unix()+limit {
		return ErrStale
	}
	return nil
}

func parse(header string) (t string, sum []byte, err error) {
	if len(header) > maxHeader {
		return "", nil, ErrMalformed
	}
	var v1 string
	for field := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "t":
			t = value
		case "v1":
			v1 = value
		}
		// Other names are left for later schemes.
	}
	sum, err = hex.DecodeString(v1)
	if t == "" || err != nil || len(sum) != sha256.Size {
		return "", nil, ErrMalformed
	}
	return t, sum, nil
}

func digest(secret, body []byte, t string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(t))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return mac.Sum(nil)
}
