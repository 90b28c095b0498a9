package config

import (
	"reflect"
	"strconv"
	"testing"
	"time"
)

func TestLimitTagsAreReadable(t *testing.T) {
	for _, s := range settings(new(Config)) {
		lowest, limited := s.field.Tag.Lookup("min")
		highest := s.field.Tag.Get("max")
		numeric := s.value.Type() == reflect.TypeFor[int]() || s.value.Kind() == reflect.Float64 || s.value.Type() == reflect.TypeFor[time.Duration]()
		if limited != numeric {
			t.Errorf("%s: numbers have limits, and only they", s.name)
		}
		if !limited {
			continue
		}
		for _, text := range []string{lowest, highest} {
			_, err := strconv.ParseFloat(text, 64)
			if s.field.Type == reflect.TypeFor[time.Duration]() {
				_, err = time.ParseDuration(text)
			}
			if err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
		if limit(s.field, lowest) >= limit(s.field, highest) {
			t.Errorf("%s: from %s to %s", s.name, lowest, highest)
		}
	}
}
