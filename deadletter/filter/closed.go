package filter

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Closed are the values that some fields can have. A filter that asks for another one would meet nothing, which looks as if
// all were well: it is refused.
type Closed map[string][]string

// Parse is Parse where some fields have few values.
func (c Closed) Parse(text string, now time.Time) (Condition, error) { return parse(text, now, c) }

// known refuses a value that nothing can have: one that is not in a closed set, and what is no group, id or order.
func (p *parser) known(t token, field string) error {
	at := t.at + len(t.text) + len(t.op)
	whole := (t.op == ":" || t.op == "=" || t.op == "!=") && !strings.Contains(t.value, "*")
	switch values := p.closed[field]; {
	case len(values) > 0:
		for _, v := range values {
			if holds(t, v) {
				return nil
			}
		}
		return &SyntaxError{at, fmt.Sprintf("no %s is %q; %s", field, t.value, there(t.value, values))}
	case field == "group" && whole && !groupPattern.MatchString(t.value):
		return &SyntaxError{at, fmt.Sprintf("%q is no group: it is %d hexadecimal digits; group:b497* stands for all that begin so", t.value, groupDigits)}
	case uuids[field] != "" && whole && !isUUID(t.value):
		return &SyntaxError{at, fmt.Sprintf("%q is no whole id; %s:%s* stands for all that begin so", t.value, field, t.value)}
	}
	return nil
}

// groupDigits is how many digits the id of a group has.
const groupDigits = 12

var groupPattern = regexp.MustCompile(fmt.Sprintf("^[0-9a-f]{%d}$", groupDigits))

// holds tells whether a comparison of text can hold, or fail, for a value: whether it is about it.
func holds(t token, value string) bool {
	switch t.op {
	case "~", ":~":
		return strings.Contains(strings.ToLower(value), strings.ToLower(t.value))
	default:
		matched, err := regexp.MatchString("^"+strings.ReplaceAll(regexp.QuoteMeta(t.value), `\*`, ".*")+"$", value)
		return matched && err == nil
	}
}
