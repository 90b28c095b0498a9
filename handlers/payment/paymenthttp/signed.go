package paymenthttp

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"millrace/event"
	"millrace/signature"
)

// signatureParameter describes the header that signed checks.
var signatureParameter = &huma.Param{
	Name: signature.Header, In: "header", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
	Description: "t=<unix seconds>,v1=<hex>: the HMAC-SHA256, with the shared secret, of the time, a full stop, and the body as sent. At most 5 minutes old.",
	Example:     "t=1790000000,v1=3518f96481995356de4f53b5d7fa9cb31b0cb567b9b29f6a105222fd4bbd75ae",
}

// signed lets a request through if the provider signed it. It comes before the
// fields are looked at, so that a stranger learns nothing about them.
func signed(api huma.API, secret []byte) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, _ := humachi.Unwrap(ctx)
		body, err := io.ReadAll(r.Body) // httpapi has bounded it
		if err == nil {
			err = signature.Verify(secret, body, r.Header.Get(signature.Header), time.Now())
		}
		if err != nil {
			slog.WarnContext(ctx.Context(), "payment callback refused", "error", err,
				"correlation_id", event.CauseFrom(ctx.Context()).CorrelationID)
			// A response that cannot be written has nobody left to read it.
			_ = huma.WriteErr(api, ctx, http.StatusUnauthorized, "The signature is missing, wrong, or too old.")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next(ctx)
	}
}
