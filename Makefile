# A few words: what a newcomer, a contributor and CI type. Everything else is cargo.

.DEFAULT_GOAL := help
.PHONY: help demo test conformance dist

help:
	@echo 'make demo   start a legacy Flask app and a Django one, each behind a gateway, and say what to open'
	@echo 'make test   run all tests: the real binary, Redis, Flask and Django under gunicorn'
	@echo 'make conformance   replay what clients may claim before fourteen servers, and write docs/conformance.md'
	@echo 'make dist   a tarball, a Debian package, a list of what is in the binary, and checksums, in target/dist'
	@echo
	@echo 'They install what is missing first (scripts/setup). .ci/run does what CI does.'

demo:
	@scripts/setup demo
	@cargo build --locked
	@demo/run

# Most tests wait for a server or for a time to pass: more of them at once than there are processors.
test: export RUST_TEST_THREADS ?= $(shell expr 2 '*' $$(nproc))
test:
	@scripts/setup test
	@cargo test --locked $(TEST_FLAGS)

# CHECK=1 writes nothing, and fails on a leak or when the document says something else.
conformance:
	@scripts/setup test
	@cargo build --locked
	@.venv/bin/python tests/conformance/run $(if $(CHECK),--check)

dist:
	@scripts/dist
