package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-json-experiment/json/jsontext"
	decode "github.com/go-json-experiment/json/v1" // encoding/json as it is from Go 1.27 on
)

const jsonMediaType = "application/json"

const (
	// MaxBody is the largest request body in bytes; a larger one is answered with 413.
	MaxBody = 1 << 20
	// maxDepth bounds nesting; the deepest body there is has 4 levels.
	maxDepth = 32
	// bodyReadTimeout is how long a client may take to send its body.
	bodyReadTimeout = 5 * time.Second
)

// checkBody reads the body and refuses what huma would let through or answer
// unclearly: another media type, a body that is too large, invalid UTF-8, a name
// given twice, an integer that no int64 holds, NUL (which Postgres cannot store).
// What fields there are, and which values they take, is left to huma.
func (a *API) checkBody(ctx huma.Context, next func(huma.Context)) {
	if ctx.Operation().RequestBody == nil {
		next(ctx)
		return
	}
	r, w := humachi.Unwrap(ctx)
	// Unsupported by the writers of httptest alone, which need no time-out.
	_ = ctx.SetReadDeadline(time.Now().Add(bodyReadTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	var netErr net.Error
	switch {
	case errors.As(err, &tooLarge):
		_ = huma.WriteErr(a.Huma, ctx, http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is larger than %d bytes.", MaxBody))
		return
	case errors.As(err, &netErr) && netErr.Timeout():
		_ = huma.WriteErr(a.Huma, ctx, http.StatusRequestTimeout, fmt.Sprintf("The body did not arrive within %s.", bodyReadTimeout))
		return
	case err != nil:
		_ = huma.WriteErr(a.Huma, ctx, http.StatusBadRequest, "The body ended early.")
		return
	}
	if len(body) > 0 {
		if !isJSON(r.Header.Get("Content-Type")) {
			_ = huma.WriteErr(a.Huma, ctx, http.StatusUnsupportedMediaType, "The body must be JSON, sent with Content-Type: application/json.")
			return
		}
		if location, err := checkJSON(body); err != nil {
			_ = huma.WriteErr(a.Huma, ctx, http.StatusBadRequest, "The body is not JSON as it is needed here.",
				&huma.ErrorDetail{Location: location, Message: err.Error()})
			return
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	// huma compares the media type letter by letter.
	r.Header.Set("Content-Type", jsonMediaType)
	next(ctx)
}

// jsonFormat is JSON as huma writes it, with errors that a client without Go understands.
func jsonFormat() huma.Format {
	format := huma.DefaultJSONFormat
	format.Unmarshal = func(data []byte, v any) error {
		err := decode.Unmarshal(data, v)
		var wrongType *decode.UnmarshalTypeError
		if errors.As(err, &wrongType) {
			return fmt.Errorf("%s: a %s cannot stand here; integers are written without fraction and exponent", wrongType.Field, wrongType.Value)
		}
		return err
	}
	return format
}

// isJSON accepts UTF-8 only; JSON knows no other encoding.
func isJSON(contentType string) bool {
	mediaType, params, err := mime.ParseMediaType(contentType)
	charset, given := params["charset"]
	return err == nil && mediaType == jsonMediaType && (!given || strings.EqualFold(charset, "utf-8"))
}

// checkJSON walks over a body and returns the first thing that is wrong with it, and where.
func checkJSON(body []byte) (location string, err error) {
	if !utf8.Valid(body) {
		return "body", errors.New("it is not valid UTF-8")
	}
	// Half a surrogate pair, which this lets pass, becomes U+FFFD; names given twice are refused.
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowInvalidUTF8(true))
	mayHaveNUL := bytes.Contains(body, []byte(`\u0000`)) // there is no other way to write it
	for ended := false; ; ended = d.StackDepth() == 0 {
		token, err := d.ReadToken()
		var wrong *jsontext.SyntacticError
		switch {
		case ended && errors.Is(err, io.EOF):
			return "", nil
		case ended:
			return "body", fmt.Errorf("something follows the value, after byte %d", d.InputOffset())
		case errors.Is(err, io.EOF):
			return "body", errors.New("it is empty")
		case errors.Is(err, io.ErrUnexpectedEOF) && errors.As(err, &wrong):
			return locate(d, wrong.JSONPointer), errors.New("it ends in the middle of a value")
		case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &wrong):
			return locate(d, wrong.JSONPointer), errors.New("it is given twice")
		case errors.As(err, &wrong):
			return locate(d, wrong.JSONPointer), fmt.Errorf("it is not JSON at byte %d: %w", wrong.ByteOffset, wrong.Err)
		case err != nil:
			return "body", err
		case d.StackDepth() > maxDepth:
			return locate(d, d.StackPointer()), fmt.Errorf("it is nested deeper than %d levels", maxDepth)
		}
		switch token.Kind() {
		case '"':
			if mayHaveNUL && strings.ContainsRune(token.String(), 0) {
				at := d.StackPointer()
				if kind, n := d.StackIndex(d.StackDepth()); kind == '{' && n%2 == 1 {
					at = at.Parent() // it is a name, which cannot be shown
				}
				return locate(d, at), errors.New("it contains the character NUL")
			}
		case '0':
			if err := checkNumber(token.String()); err != nil {
				return locate(d, d.StackPointer()), err
			}
		}
	}
}

// locate writes a pointer into what d has read the way huma does: body.items[0].quantity.
func locate(d *jsontext.Decoder, at jsontext.Pointer) string {
	var b strings.Builder
	b.WriteString("body")
	level := 0
	for name := range at.Tokens() {
		level++
		if kind, _ := d.StackIndex(min(level, d.StackDepth())); level <= d.StackDepth() && kind == '[' {
			b.WriteString("[" + name + "]")
		} else {
			b.WriteString("." + name)
		}
	}
	return b.String()
}

// checkNumber refuses integers beyond int64, which would lose digits on the way,
// and numbers beyond float64.
func checkNumber(literal string) error {
	if !strings.ContainsAny(literal, ".eE") {
		if _, err := strconv.ParseInt(literal, 10, 64); err != nil {
			return errors.New("the number does not fit into 64 bits")
		}
	} else if _, err := strconv.ParseFloat(literal, 64); err != nil {
		return errors.New("the number is out of range")
	}
	return nil
}

// checkText refuses what no text column can hold, before it reaches one: NUL and
// invalid UTF-8 in the path or the query.
func checkText(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := url.ParseQuery(r.URL.RawQuery)
		ok := err == nil && storable(r.URL.Path)
		for name, values := range query {
			ok = ok && storable(name)
			for _, v := range values {
				ok = ok && storable(v)
			}
		}
		if !ok {
			writeProblem(w, r, newProblem(http.StatusBadRequest, "The path or the query is not valid UTF-8, contains NUL, or is wrongly escaped."))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
