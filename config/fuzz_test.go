package config_test

import (
	"strings"
	"testing"

	"millrace/config"
)

// FuzzLoad: whatever a variable is set to, it is taken or refused by its name, and a secret is in no message.
func FuzzLoad(f *testing.F) {
	names := []string{}
	for _, s := range config.Describe() {
		names = append(names, s.Name)
	}
	for n, value := range map[int]string{0: "order,,payment", 1: "\x00", 2: "1e309", 3: "-1ns", 4: "9223372036854775808", 5: "NaN", 6: "a:b:c", 7: " ", 8: "postgres://[::1", 9: "${HOME}", 10: "10000000h"} {
		f.Add(n, value)
	}
	for n := range names {
		f.Add(n, "x")
	}
	f.Fuzz(func(t *testing.T, n int, value string) {
		name := names[uint(n)%uint(len(names))]
		if strings.HasSuffix(name, "_FILE") { // it would read what it names
			return
		}
		c, err := config.Load(map[string]string{name: value})
		if err != nil && strings.TrimSpace(err.Error()) == "" {
			t.Errorf("%s=%q is refused without a word", name, value)
		}
		if err != nil || value == "" {
			return
		}
		again, err := config.Load(map[string]string{name: value})
		if err != nil || again.Kafka.Partitions != c.Kafka.Partitions || again.HTTP != c.HTTP {
			t.Errorf("%s=%q is taken, and then not: %v", name, value, err)
		}
		_, _ = c.Auth.Authenticator() // reads keys: it may refuse them, and no more
		_, _ = c.Kafka.TLSConfig()
	})
}
