# Three words: what a newcomer, a contributor and CI type. Everything else is cargo.

.DEFAULT_GOAL := help
.PHONY: help demo test

help:
	@echo 'make demo   start a legacy Flask app and a Django one, each behind a gateway, and say what to open'
	@echo 'make test   run all tests: the real binary, Redis, Flask and Django under gunicorn'
	@echo
	@echo 'Both install what is missing first (scripts/setup). .ci/run does what CI does.'

demo:
	@scripts/setup demo
	@cargo build --locked
	@demo/run

test:
	@scripts/setup test
	@cargo test --locked
