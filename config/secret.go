package config

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// mask stands for a secret wherever it would be printed.
const mask = "[secret]"

// Secret is a value that is never printed, logged or marshalled, by accident or
// otherwise: only Reveal gives it away.
type Secret struct{ value string }

// NewSecret hides a value.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal returns the value itself.
func (s Secret) Reveal() string { return s.value }

// IsSet tells whether there is a value.
func (s Secret) IsSet() bool { return s.value != "" }

// String is a mask, or empty where there is no value.
func (s Secret) String() string {
	if s.IsSet() {
		return mask
	}
	return ""
}

// Format prints the mask for every verb; fmt would look into the struct for some.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue logs the mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON writes the mask.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }
