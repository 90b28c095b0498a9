package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"millrace/httpapi/auth"
)

// The scopes an operation can ask for.
const (
	ScopeShop     = auth.Shop
	ScopeOperator = auth.Operator
)

// Anonymous is what Caller returns where nobody has to say who they are.
const Anonymous = "anonymous"

// The two ways to present a credential, as OpenAPI names them.
const (
	apiKeyScheme = "apiKey"
	bearerScheme = "bearer"
)

// Scope is the Security of an operation that callers with any one of these
// scopes may use. An operation without Security asks for ScopeOperator.
func Scope(anyOf ...string) []map[string][]string {
	var alternatives []map[string][]string
	for _, scope := range anyOf {
		alternatives = append(alternatives,
			map[string][]string{apiKeyScheme: {scope}},
			map[string][]string{bearerScheme: {scope}})
	}
	return alternatives
}

// Public is the Security of an operation that checks its callers itself, by a
// signature for instance.
func Public() []map[string][]string {
	return []map[string][]string{{}}
}

type callerKey struct{}

// Caller is the name of the API key, or the subject of the token, that this request
// came with; Anonymous for public operations and where AUTH is none. Idempotency
// keys belong to a caller.
func Caller(ctx context.Context) string {
	if name, ok := ctx.Value(callerKey{}).(string); ok {
		return name
	}
	return Anonymous
}

// authorize lets a request through to its operation, with its caller in the
// context, or answers 401 or 403.
func (a *API) authorize(ctx huma.Context, next func(huma.Context)) {
	if a.auth == nil || isPublic(ctx.Operation()) {
		next(ctx)
		return
	}
	credential := credentialOf(ctx)
	if credential == "" {
		a.refuse(ctx, http.StatusUnauthorized, "Bearer", "Send a credential: an X-API-Key header, or Authorization: Bearer.")
		return
	}
	identity, err := a.auth.Authenticate(credential)
	if err != nil {
		a.log.LogAttrs(ctx.Context(), slog.LevelWarn, "caller refused",
			slog.String("operation", ctx.Operation().OperationID), slog.Any("error", err))
		a.refuse(ctx, http.StatusUnauthorized, `Bearer error="invalid_token"`, "The credential is not valid.")
		return
	}
	wanted := scopesOf(ctx.Operation())
	if !slices.ContainsFunc(wanted, func(s string) bool { return slices.Contains(identity.Scopes, s) }) {
		needs := strings.Join(wanted, " or ")
		a.refuse(ctx, http.StatusForbidden, `Bearer error="insufficient_scope", scope="`+wanted[0]+`"`,
			"The credential is valid, but this needs the scope "+needs+".")
		return
	}
	if entry := entryFrom(ctx.Context()); entry != nil {
		entry.caller = identity.Name
	}
	next(huma.WithValue(ctx, callerKey{}, identity.Name))
}

func (a *API) refuse(ctx huma.Context, status int, challenge, detail string) {
	ctx.SetHeader("WWW-Authenticate", challenge)
	_ = huma.WriteErr(a.Huma, ctx, status, detail)
}

func credentialOf(ctx huma.Context) string {
	if k := ctx.Header("X-API-Key"); k != "" {
		return k
	}
	scheme, credential, _ := strings.Cut(ctx.Header("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(credential)
}

func isPublic(op *huma.Operation) bool {
	return slices.ContainsFunc(op.Security, func(alternative map[string][]string) bool { return len(alternative) == 0 })
}

func scopesOf(op *huma.Operation) []string {
	var scopes []string
	for _, alternative := range op.Security {
		for _, names := range alternative {
			for _, s := range names {
				if !slices.Contains(scopes, s) {
					scopes = append(scopes, s)
				}
			}
		}
	}
	if scopes == nil {
		// Forgotten is not open.
		return []string{ScopeOperator}
	}
	return scopes
}
