#!/bin/bash
# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Starts PostgreSQL; makes the cluster first where there is none. Understands what the image
# `postgres` of the PostgreSQL Docker community understands, as far as this collection uses it:
#   PGDATA, POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_INITDB_ARGS (each of the last
#   four as NAME_FILE too), POSTGRES_INITDB_WALDIR, POSTGRES_HOST_AUTH_METHOD,
#   /docker-entrypoint-initdb.d/*.{sh,sql,sql.gz}
set -Eeuo pipefail

fail() {
	printf 'Error: %s\n' "$*" >&2
	exit 1
}

# from_file NAME DEFAULT: NAME, or the content of the file that NAME_FILE names, or DEFAULT.
from_file() {
	local name="$1" file="${1}_FILE" value="${2:-}"
	[ -z "${!name:-}" ] || [ -z "${!file:-}" ] || fail "$name and $file exclude each other"
	if [ -n "${!name:-}" ]; then
		value="${!name}"
	elif [ -n "${!file:-}" ]; then
		value="$(< "${!file}")"
	fi
	export "$name"="$value"
	unset "$file"
}

make_cluster() {
	local arguments=("--username=$POSTGRES_USER")
	[ -z "${POSTGRES_INITDB_WALDIR:-}" ] || arguments+=("--waldir=$POSTGRES_INITDB_WALDIR")
	[ -z "$POSTGRES_PASSWORD" ] || arguments+=(--pwfile=/dev/stdin)
	eval 'initdb "${arguments[@]}" '"$POSTGRES_INITDB_ARGS" <<< "$POSTGRES_PASSWORD"
	local method="${POSTGRES_HOST_AUTH_METHOD:-}"
	if [ -z "$method" ]; then
		method="$(postgres -C password_encryption)"
	fi
	printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
}

run_file() {
	local sql=(psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password -U "$POSTGRES_USER" -d "$POSTGRES_DB")
	printf '%s: running %s\n' "$0" "$1"
	# shellcheck source=/dev/null
	case "$1" in
		*.sh) if [ -x "$1" ]; then "$1"; else . "$1"; fi ;;
		*.sql) "${sql[@]}" -f "$1" ;;
		*.sql.gz) gunzip -c "$1" | "${sql[@]}" ;;
		*) printf '%s: ignored %s\n' "$0" "$1" ;;
	esac
}

first_start() {
	[ -n "$POSTGRES_PASSWORD" ] || [ "${POSTGRES_HOST_AUTH_METHOD:-}" = trust ] \
		|| fail "the database has no superuser password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
	make_cluster
	# Until all is there nobody but this script reaches the server.
	PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -o "$(printf '%q ' "$@" -c listen_addresses= -p "${PGPORT:-5432}")" -w start
	export PGPASSWORD="$POSTGRES_PASSWORD"
	if [ "$POSTGRES_DB" != postgres ]; then
		psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password -U "$POSTGRES_USER" -d postgres --set db="$POSTGRES_DB" \
			<<< 'CREATE DATABASE :"db";'
	fi
	local file
	for file in /docker-entrypoint-initdb.d/*; do
		[ ! -e "$file" ] || run_file "$file"
	done
	pg_ctl -D "$PGDATA" -m fast -w stop
	unset PGPASSWORD
	printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

[ "${1:0:1}" != - ] || set -- postgres "$@"

if [ "${1:-}" = postgres ]; then
	if [ "$(id -u)" = 0 ]; then
		install -d -o postgres -g postgres -m 0700 "$PGDATA"
		find "$PGDATA" \! -user postgres -exec chown postgres {} +
		exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
	fi
	mkdir -p "$PGDATA"
	chmod 0700 "$PGDATA" 2> /dev/null || :
	if [ ! -s "$PGDATA/PG_VERSION" ]; then
		from_file POSTGRES_PASSWORD
		from_file POSTGRES_USER postgres
		from_file POSTGRES_DB "$POSTGRES_USER"
		from_file POSTGRES_INITDB_ARGS
		first_start "${@:2}"
		unset POSTGRES_PASSWORD
	fi
fi

exec "$@"
