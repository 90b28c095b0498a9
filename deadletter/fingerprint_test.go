package deadletter

import "testing"

func TestFailuresOfOneKindHaveOneFingerprint(t *testing.T) {
	one := Fingerprint("payment/t", "*errors.errorString", `charge order 0199c0de-0000-7000-8000-000000000001: account "c-42" has 12.50 of 100 at 10:31`)
	for _, same := range []string{
		`charge order 0199c0de-0000-7000-8000-0000000000ff: account "c-7" has 1 of 2 at 23:59`,
		"charge order 0199C0DE-0000-7000-8000-000000000001:  account 'x' has 3 of 4\nat 1",
	} {
		if Fingerprint("payment/t", "*errors.errorString", same) != one {
			t.Errorf("another kind: %s", Normalise(same))
		}
	}
	for name, other := range map[string]string{
		"the text":    Fingerprint("payment/t", "*errors.errorString", "charge order 1: no account"),
		"the type":    Fingerprint("payment/t", "*fs.PathError", `charge order 1: account "c-42" has 12.50 of 100 at 10:31`),
		"the handler": Fingerprint("payment/u", "*errors.errorString", `charge order 1: account "c-42" has 12.50 of 100 at 10:31`),
	} {
		if other == one {
			t.Errorf("%s makes no difference", name)
		}
	}
}
