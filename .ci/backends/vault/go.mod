// Builds a real Vault for the tests: `go build github.com/hashicorp/vault`, see ../../install-backends.
// The last release whose own sdk module is published as it was released: docs/decisions/0007.
module mcp-run.invalid/vault

go 1.21

require (
	github.com/hashicorp/vault v1.13.1
	github.com/hashicorp/vault/sdk v0.8.1
)
