package config

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
)

// Setting is what there is to say about one variable.
type Setting struct {
	// Name is the environment variable.
	Name string
	// Default is what it is when nobody sets it; may be empty.
	Default string
	// Accepts says which values are right.
	Accepts string
	// Help says what it is for.
	Help string
	// Secret tells that NAME_FILE can name a file instead.
	Secret bool
}

// Describe lists all settings, in the order of the struct.
func Describe() []Setting {
	var described []Setting
	for _, s := range settings(new(Config)) {
		d := Setting{
			Name:    s.name,
			Default: cmp.Or(s.field.Tag.Get("envDefault"), s.field.Tag.Get("default")),
			Accepts: right(s.field),
			Help:    s.field.Tag.Get("help"),
			Secret:  s.isSecret(),
		}
		if s.field.Type.Kind() == reflect.Slice {
			d.Accepts = "a list, separated by commas"
		}
		described = append(described, d)
	}
	return described
}

// Markdown is docs/configuration.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Written by: go test ./config -run TestDocumentation -update -->

Every setting is an environment variable; one that is empty is as good as absent. A wrong value is refused at
the start, with its variable and what would be right. Those marked *secret* are never printed, and can be read
from a file instead: set ` + "`NAME_FILE`" + ` to its path.

| variable | default | accepts | what it is for |
|---|---|---|---|
`)
	for _, s := range Describe() {
		accepts, standard := s.Accepts, ""
		if s.Secret {
			accepts = "*secret*"
		}
		if s.Default != "" {
			standard = "`" + s.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.Name, standard, accepts, strings.ReplaceAll(s.Help, "|", `\|`))
	}
	return b.String()
}
