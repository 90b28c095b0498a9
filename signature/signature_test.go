package signature_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/signature"
)

var (
	secret = []byte("a secret of the provider")
	body   = []byte(`{"orderId":"0199c0de-0000-7000-8000-000000000001","status":"captured"}`)
	now    = time.Unix(1_790_000_000, 0)
)

// The wire format is what other people's software signs: it must not drift.
func TestKnownValue(t *testing.T) {
	const want = "t=1790000000,v1=" + knownDigest
	if got := signature.Sign(secret, body, now); got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	good := signature.Sign(secret, body, now)
	hex := good[strings.Index(good, "v1=")+3:]
	tests := []struct {
		name   string
		secret string
		body   string
		header string
		now    time.Time
		want   error
	}{
		{name: "right", header: good},
		{name: "spaces and other schemes beside it", header: "v0=00, t=1790000000 , v1=" + hex},
		{name: "at the end of the window", header: good, now: now.Add(signature.Window)},
		{name: "a second too old", header: good, now: now.Add(signature.Window + time.Second), want: signature.ErrStale},
		{name: "the sender's clock is ahead within the window", header: good, now: now.Add(-signature.Window)},
		{name: "a second too far ahead", header: good, now: now.Add(-signature.Window - time.Second), want: signature.ErrStale},
		{name: "another body", body: "{}", header: good, want: signature.ErrMismatch},
		{name: "another secret", secret: "guess", header: good, want: signature.ErrMismatch},
		{name: "a newer time put on an old signature", header: "t=1790000001,v1=" + hex, want: signature.ErrMismatch},
		{name: "no header", header: "", want: signature.ErrMalformed},
		{name: "no time", header: "v1=" + hex, want: signature.ErrMalformed},
		{name: "no digest", header: "t=1790000000", want: signature.ErrMalformed},
		{name: "not hex", header: "t=1790000000,v1=zz", want: signature.ErrMalformed},
		{name: "half a digest", header: "t=1790000000,v1=" + hex[:32], want: signature.ErrMalformed},
		{name: "far too long", header: good + strings.Repeat(",x=y", 200), want: signature.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, b, at := secret, body, now
			if tt.secret != "" {
				s = []byte(tt.secret)
			}
			if tt.body != "" {
				b = []byte(tt.body)
			}
			if !tt.now.IsZero() {
				at = tt.now
			}
			if err := signature.Verify(s, b, tt.header, at); !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
		})
	}
}

// A signed time that is no number, or one far away, is refused, not wrapped round.
func TestOddTimes(t *testing.T) {
	for _, at := range []time.Time{time.Unix(1<<62, 0), time.Unix(-1<<62, 0), time.Unix(0, 0)} {
		if err := signature.Verify(secret, body, signature.Sign(secret, body, at), now); !errors.Is(err, signature.ErrStale) {
			t.Errorf("signed at %d: %v, want ErrStale", at.Unix(), err)
		}
	}
}

func TestWithoutSecretNothingVerifies(t *testing.T) {
	if err := signature.Verify(nil, body, signature.Sign(nil, body, now), now); !errors.Is(err, signature.ErrNoSecret) {
		t.Errorf("Verify = %v, want ErrNoSecret", err)
	}
}

func TestAnyChangeIsNoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "body")
		header := signature.Sign(secret, b, now)
		if err := signature.Verify(secret, b, header, now); err != nil {
			t.Fatalf("own signature refused: %v", err)
		}
		i := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		if err := signature.Verify(secret, b, header, now); !errors.Is(err, signature.ErrMismatch) {
			t.Fatalf("changed byte %d: %v, want ErrMismatch", i, err)
		}
	})
}

// knownDigest was computed with openssl dgst -sha256 -hmac.
const knownDigest = "3518f96481995356de4f53b5d7fa9cb31b0cb567b9b29f6a105222fd4bbd75ae"
