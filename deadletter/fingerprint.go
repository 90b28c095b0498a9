package deadletter

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
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

// Fingerprint is the same for failures of one kind: the error's type, the handler, and the text
// without quoted values, ids and numbers. It survives deploys.
func Fingerprint(handler, errorType, text string) string {
	sum := sha256.Sum256([]byte(handler + "\x00" + errorType + "\x00" + Normalise(text)))
	return hex.EncodeToString(sum[:fingerprintBytes])
}
