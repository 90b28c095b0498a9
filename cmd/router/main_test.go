package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/lib/pq"
)

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
		if !errors.As(err, &usageError{}) || err.Error() != want {
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
			if !errors.As(err, &usageError{}) || !strings.Contains(err.Error(), setting+" is wrong: ") || strings.Contains(err.Error(), "pa55word") {
				t.Error(err)
			}
		})
	}
}

func TestInterruptedOrFailed(t *testing.T) {
	for err, want := range map[error]bool{
		fmt.Errorf("ask: %w", context.Canceled):                                              true,
		fmt.Errorf("migrate: %w", errors.Join(&pq.Error{Code: "57014"}, errors.New("tidy"))): true,
		&pq.Error{Code: "57P01"}:                                                             false,
		errors.New("a taken port"):                                                           false,
	} {
		if isInterruption(err) != want {
			t.Errorf("%v: want %v", err, want)
		}
	}
}
