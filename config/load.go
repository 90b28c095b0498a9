package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// fileSuffix makes the variable that names a file with the secret in it.
const fileSuffix = "_FILE"

// Environ is the process's environment as Load takes it.
func Environ() map[string]string { return env.ToMap(os.Environ()) }

// Load reads the settings from environment variables. A variable that is empty is as good
// as absent. A secret can be in a file that NAME_FILE names. The error holds all mistakes, one a line.
func Load(environ map[string]string) (Config, error) {
	environ = maps.Clone(environ)
	// Not nil: env would read the process's own environment then.
	if environ == nil {
		environ = map[string]string{}
	}
	maps.DeleteFunc(environ, func(_, value string) bool { return value == "" })

	var c Config
	all := settings(&c)
	mistakes := readFiles(environ, all)
	for _, s := range all {
		if err := s.read(environ); err != nil {
			mistakes = append(mistakes, wrong(s.name, environ[s.name], right(s.field)))
			// With the default in its place no other check complains of the same value again.
			delete(environ, s.name)
			if err := s.read(environ); err != nil {
				return c, fmt.Errorf("the default of %s: %w", s.name, err)
			}
		}
	}
	mistakes = append(mistakes, c.check()...)
	return c, errors.Join(mistakes...)
}

// setting is one field of Config that has a variable.
type setting struct {
	name  string
	field reflect.StructField
	value reflect.Value
}

func (s setting) isSecret() bool { return s.value.Type() == reflect.TypeFor[Secret]() }

// settings lists all fields with a variable, in the order they are written.
func settings(c *Config) []setting {
	var all []setting
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if name, ok := field.Tag.Lookup("env"); ok {
				all = append(all, setting{name: name, field: field, value: v.Field(i)})
			} else {
				walk(v.Field(i))
			}
		}
	}
	walk(reflect.ValueOf(c).Elem())
	return all
}

// wrong says what is wrong with a value, and what would be right.
func wrong(name, value, right string) error {
	return fmt.Errorf("%s=%q is wrong: it must be %s", name, value, right)
}

// readFiles puts what is in a secret's file where the secret would be.
func readFiles(environ map[string]string, all []setting) (mistakes []error) {
	for _, s := range all {
		file := environ[s.name+fileSuffix]
		if !s.isSecret() || file == "" {
			continue
		}
		if environ[s.name] != "" {
			mistakes = append(mistakes, fmt.Errorf("%s and %s are both set: set only one", s.name, s.name+fileSuffix))
			continue
		}
		content, err := os.ReadFile(file)
		text := strings.TrimRight(string(content), "\r\n")
		switch {
		case err != nil:
			mistakes = append(mistakes, fmt.Errorf("%s=%q is wrong: it must be a file that can be read: %w", s.name+fileSuffix, file, err))
		case text == "":
			mistakes = append(mistakes, wrong(s.name+fileSuffix, file, "a file with a secret in it; this one is empty"))
		default:
			environ[s.name] = text
		}
	}
	return mistakes
}

// errOutOfLimits is never seen: Load tells what is right instead.
var errOutOfLimits = errors.New("out of limits")

// read takes the setting's value, or its default, and holds it against the tags oneof, min
// and max. An absent value without a default has no limits.
func (s setting) read(environ map[string]string) error {
	// By itself, because the library's errors do not tell two fields of one name apart.
	alone := reflect.New(reflect.StructOf([]reflect.StructField{s.field}))
	if err := env.ParseWithOptions(alone.Interface(), env.Options{
		Environment: environ,
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[Secret](): func(v string) (any, error) { return NewSecret(v), nil },
		},
	}); err != nil {
		return err
	}
	s.value.Set(alone.Elem().Field(0))
	value := cmp.Or(environ[s.name], s.field.Tag.Get("envDefault"))
	if value == "" {
		return nil
	}
	if list, limited := s.field.Tag.Lookup("oneof"); limited && !slices.Contains(strings.Split(list, ","), value) {
		return errOutOfLimits
	}
	if lowest, limited := s.field.Tag.Lookup("min"); limited {
		n := number(s.value)
		// Written so that NaN is refused too.
		if !(n >= limit(s.field, lowest) && n <= limit(s.field, s.field.Tag.Get("max"))) {
			return errOutOfLimits
		}
	}
	return nil
}

// number is a setting's value to compare with its limits. Durations of this size
// lose nothing as float64.
func number(v reflect.Value) float64 {
	if v.CanInt() {
		return float64(v.Int())
	}
	return v.Float()
}

// limit reads a min or max tag; a test reads all of them once.
func limit(field reflect.StructField, text string) float64 {
	if field.Type == reflect.TypeFor[time.Duration]() {
		d, _ := time.ParseDuration(text)
		return float64(d)
	}
	f, _ := strconv.ParseFloat(text, 64)
	return f
}

// right says in words what a setting accepts.
func right(field reflect.StructField) string {
	if text := field.Tag.Get("right"); text != "" {
		return text
	}
	if list := field.Tag.Get("oneof"); list != "" {
		return "one of " + strings.ReplaceAll(list, ",", ", ")
	}
	within := ""
	if lowest := field.Tag.Get("min"); lowest != "" {
		within = " from " + lowest + " to " + field.Tag.Get("max")
	}
	switch {
	case field.Type == reflect.TypeFor[time.Duration]():
		return "a duration" + within + ", written like 500ms, 30s or 5m"
	case field.Type.Kind() == reflect.Bool:
		return "true or false"
	case field.Type.Kind() == reflect.Int:
		return "a whole number" + within
	case field.Type.Kind() == reflect.Float64:
		return "a number" + within
	}
	return "text"
}
