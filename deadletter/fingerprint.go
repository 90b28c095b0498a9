package deadletter

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"regexp"
	"strings"

	"millrace/outbox"
)

// What differs between two failures of one kind: quoted values, ids, and numbers.
var variable = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'|` + "`[^`]*`"), "…"},
	{regexp.MustCompile(`\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b`), "…"},
	{regexp.MustCompile(`\b0x[0-9a-fA-F]+\b|\b[0-9a-fA-F]{16,}\b`), "…"},
	{regexp.MustCompile(`[-+]?\b\d+(?:[.,:]\d+)*\b`), "…"},
	{regexp.MustCompile(`\s+`), " "},
}

// fingerprintBytes is how much of the hash is kept: 48 bits tell some thousand kinds of failure apart, and
// can be typed.
const fingerprintBytes = 6

// Normalise takes out of an error's text what differs from one message to the next.
func Normalise(text string) string {
	for _, v := range variable {
		text = v.pattern.ReplaceAllString(text, v.by)
	}
	return strings.TrimSpace(text)
}

// postgresError begins the types of the errors that Postgres has told.
const postgresError = "pq.Error"

// ErrorType names the kind of an error: the Go type of its innermost cause. Of what Postgres has told, it is the SQLSTATE
// and the constraint or column, as in "pq.Error 23514 no_parcels_to_gb": in the text their names are quoted, as values are.
func ErrorType(err error) string {
	if code, name := outbox.StateOf(err); code != "" {
		return strings.TrimSpace(postgresError + " " + code + " " + asText(name))
	}
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return reflect.TypeOf(err).String()
		}
		err = u.Unwrap()
	}
}

// Fingerprint is the same for failures of one kind: the error's type (with the constraint, see ErrorType), the handler, and
// the text without quoted values, ids and numbers. It survives deploys.
func Fingerprint(handler, errorType, text string) string {
	sum := sha256.Sum256([]byte(handler + "\x00" + errorType + "\x00" + Normalise(text)))
	return hex.EncodeToString(sum[:fingerprintBytes])
}
