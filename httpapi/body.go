package httpapi

import (
	"bytes"
	"encoding/json"
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
		err := json.Unmarshal(data, v)
		var wrongType *json.UnmarshalTypeError
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

// nesting is one object or list that a value lies in.
type nesting struct {
	names map[string]struct{} // of an object; nil for a list
	name  string              // of the member that comes next, or is being read
	index int                 // of the element that is being read
	value bool                // an object's name was read, its value comes next
}

// checkJSON walks over a body and returns the first thing that is wrong with it, and where.
func checkJSON(body []byte) (location string, err error) {
	if !utf8.Valid(body) {
		return "body", errors.New("it is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var within []nesting
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && len(within) > 0 {
			return locate(within), errors.New("it ends in the middle of a value")
		}
		if errors.Is(err, io.EOF) {
			return "body", errors.New("it is empty")
		}
		if err != nil {
			return locate(within), fmt.Errorf("it is not JSON at byte %d: %s", d.InputOffset(), clean(err))
		}
		closed := false
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{':
				within = append(within, nesting{names: map[string]struct{}{}})
			case '[':
				within = append(within, nesting{})
			default:
				within, closed = within[:len(within)-1], true
			}
			if len(within) > maxDepth {
				return locate(within), fmt.Errorf("it is nested deeper than %d levels", maxDepth)
			}
			if !closed {
				continue
			}
		case string:
			if strings.ContainsRune(token, 0) {
				return locate(within), errors.New("it contains the character NUL")
			}
			if top := last(within); top != nil && top.names != nil && !top.value {
				top.name, top.value = token, true
				if _, twice := top.names[token]; twice {
					return locate(within), errors.New("it is given twice")
				}
				top.names[token] = struct{}{}
				continue
			}
		case json.Number:
			if err := checkNumber(token.String()); err != nil {
				return locate(within), err
			}
		}
		// A value has ended.
		top := last(within)
		if top == nil {
			break
		}
		top.index++
		top.value = false
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "body", fmt.Errorf("something follows the value, after byte %d", d.InputOffset())
	}
	return "", nil
}

func last(within []nesting) *nesting {
	if len(within) == 0 {
		return nil
	}
	return &within[len(within)-1]
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

// locate writes where the walk is, the way huma does: body.items[0].quantity.
func locate(within []nesting) string {
	var b strings.Builder
	b.WriteString("body")
	for _, n := range within {
		switch {
		case n.names == nil:
			fmt.Fprintf(&b, "[%d]", n.index)
		case n.value:
			b.WriteString("." + n.name)
		}
	}
	return b.String()
}

// clean takes the decoder's own words without its package name.
func clean(err error) string { return strings.TrimPrefix(err.Error(), "json: ") }

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
