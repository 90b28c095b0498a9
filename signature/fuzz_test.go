package signature_test

import (
	"testing"
	"time"

	"millrace/signature"
)

// FuzzVerify: nothing passes but what somebody with the secret has signed, for this body, now.
func FuzzVerify(f *testing.F) {
	good := signature.Sign(secret, body, now)
	for _, header := range []string{good, "", "t=,v1=", "t=1790000000", good + "," + good, "v1=00,t=-1", "t=9223372036854775808,v1=00", "t=+1790000000" + good[len("t=1790000000"):]} {
		f.Add(header, body)
	}
	f.Fuzz(func(t *testing.T, header string, text []byte) {
		err := signature.Verify(secret, text, header, now)
		if err == nil && (string(text) != string(body) || signature.Verify(secret, text, header, now.Add(2*signature.Window+time.Second)) == nil) {
			t.Errorf("%q passes for %q", header, text)
		}
		if err := signature.Verify(nil, text, header, now); err == nil {
			t.Errorf("%q passes without a secret", header)
		}
		mine := signature.Sign(secret, text, now)
		if err := signature.Verify(secret, text, mine, now); err != nil {
			t.Errorf("%q, which was signed, does not pass: %v", mine, err)
		}
	})
}
