package deadletter

import (
	"errors"
	"fmt"
	"testing"
)

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

// What tells two refusals of one table apart is the name of the constraint, which the text has in quotes, as values are.
func TestViolationsOfTwoConstraintsAreTwoKinds(t *testing.T) {
	db := database(t)
	if _, err := db.Exec(`CREATE TABLE parcels (id int CONSTRAINT parcel_id PRIMARY KEY, country text NOT NULL, city text NOT NULL, price text,
	CONSTRAINT no_gb CHECK (country <> 'GB'), CONSTRAINT no_xx CHECK (country <> 'XX'))`); err != nil {
		t.Fatal(err)
	}
	refused := func(values string) Letter {
		_, err := db.Exec("INSERT INTO parcels VALUES " + values)
		if err == nil {
			t.Fatalf("%s is not refused", values)
		}
		l := Letter{Handler: "shipping/t"}
		l.Describe(fmt.Errorf("the database refused the update: %w", errors.Join(err, errors.New("and more"))))
		return l
	}
	groups := map[string]string{}
	for values, want := range map[string]string{
		"(1, 'GB', 'x')": "pq.Error 23514 no_gb", "(2, 'XX', 'x')": "pq.Error 23514 no_xx",
		"(3, NULL, 'x')": "pq.Error 23502 country", "(4, 'DE', NULL)": "pq.Error 23502 city",
		"(5, 'DE', 'x', 1 / 0)": "pq.Error 22012", // about neither a constraint nor a column
	} {
		l := refused(values)
		if l.ErrorType != want {
			t.Errorf("%s: the type is %q, want %q (%s)", values, l.ErrorType, want, l.Error)
		}
		if other, known := groups[l.Fingerprint()]; known {
			t.Errorf("%s and %s are one group", values, other)
		}
		groups[l.Fingerprint()] = values
	}
	if one, other := refused("(6, 'GB', 'x')"), refused("(7, 'GB', 'y')"); one.Fingerprint() != other.Fingerprint() {
		t.Errorf("two violations of one constraint are two groups: %q, %q", one.ErrorType, other.ErrorType)
	}
	if got := ErrorType(fmt.Errorf("a: %w", fmt.Errorf("b: %w", errAlone))); got != "deadletter.aloneError" {
		t.Errorf("the type of an error that is not Postgres's is %q", got)
	}
}
