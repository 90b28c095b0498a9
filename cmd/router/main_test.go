package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"millrace/cmd/exit"
)

// A wrong number is told in words, whatever flag of whatever command it is; none of strconv's get through.
func TestAWrongNumberIsToldInWords(t *testing.T) {
	checked := 0
	eachCommand(rootCommand(), func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if _, known := flagTakes[f.Value.Type()]; !known {
				if kind := f.Value.Type(); kind != "string" && kind != "stringSlice" && kind != "stringArray" && f.Name != "output" {
					t.Errorf("%s --%s: nothing says what a %s is", cmd.CommandPath(), f.Name, kind)
				}
				return
			}
			checked++
			for _, value := range []string{"abc", "99999999999999999999s"} {
				root := rootCommand()
				root.SetArgs(append(strings.Fields(cmd.CommandPath())[1:], "--"+f.Name+"="+value))
				err := root.ExecuteContext(t.Context())
				if !errors.As(err, &exit.UsageError{}) || !strings.Contains(err.Error(), "--"+f.Name+" takes ") || !strings.Contains(err.Error(), `not "`+value+`"`) || strings.Contains(err.Error(), "strconv") {
					t.Errorf("%s --%s=%s: %v", cmd.CommandPath(), f.Name, value, err)
				}
			}
		})
	})
	if checked < 10 {
		t.Errorf("%d flags were tried: the test is blind", checked)
	}
}

func TestWrongArgumentsAreToldOnce(t *testing.T) {
	for args, want := range map[string]string{
		"serve now":      `unknown command "now" for "router serve" (see router serve --help)`,
		"migrate up now": `unknown command "now" for "router migrate up" (see router migrate up --help)`,
		"sreve":          `unknown command "sreve" for "router" (see router --help)`,
	} {
		root := rootCommand()
		root.SetArgs(strings.Fields(args))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		err := root.ExecuteContext(t.Context())
		if !errors.As(err, &exit.UsageError{}) || err.Error() != want {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// Found out before anything is started, and without telling the password.
func TestDatabaseURLsTheDriverDoesNotUnderstand(t *testing.T) {
	const url = "postgres://shop:pa55word@127.0.0.1:1/shop"
	for setting, wrong := range map[string]string{
		"DATABASE_URL":         url + "?sslmode=maybe",
		"PAYMENT_DATABASE_URL": url + "?connect_timeout=soon",
		"ORDER_DATABASE_URL":   strings.Replace(url, ":1/", ":99999/", 1),
	} {
		t.Run(setting, func(t *testing.T) {
			t.Setenv("DATABASE_URL", url)
			t.Setenv(setting, wrong)
			_, _, err := loadConfig(nil)
			if !errors.As(err, &exit.UsageError{}) || !strings.Contains(err.Error(), setting+" is wrong: ") || strings.Contains(err.Error(), "pa55word") {
				t.Error(err)
			}
		})
	}
}
