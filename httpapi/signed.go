package httpapi

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"millrace/signature"
)

// SignatureParameter describes, for OpenAPI, the header that Signed checks.
func SignatureParameter() *huma.Param {
	return &huma.Param{
		Name: signature.Header, In: "header", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
		Description: "t=<unix seconds>,v1=<hex>: the HMAC-SHA256, with the shared secret, of the time, a full stop, and the body as sent. At most 5 minutes old.",
		Example:     "t=1790000000,v1=3518f96481995356de4f53b5d7fa9cb31b0cb567b9b29f6a105222fd4bbd75ae",
	}
}

// Signed is the middleware of a callback: it lets through what was signed with
// secret, nothing with an empty one. It comes before the fields are looked at, so that a
// stranger learns nothing about them.
func Signed(api huma.API, secret []byte) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, _ := humachi.Unwrap(ctx)
		body, err := io.ReadAll(r.Body) // the frame has bounded it
		if err == nil {
			err = signature.Verify(secret, body, r.Header.Get(signature.Header), time.Now())
		}
		if err != nil {
			slog.WarnContext(ctx.Context(), "a callback was refused", "path", r.URL.Path, "error", err)
			// A response that cannot be written has nobody left to read it.
			_ = huma.WriteErr(api, ctx, http.StatusUnauthorized, "The signature is missing, wrong, or too old.")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next(ctx)
	}
}
