// SQL that keeps a role as which sessions of requests log in: it has no rights of its own, and can become what requests may name.
#ifndef PROXY_LOGIN_ROLE_H
#define PROXY_LOGIN_ROLE_H

#define LOGIN_ROLE_READS "caucus_authenticator"
#define LOGIN_ROLE_WRITES "caucus_executor"

// Roles come and go with migrations. Superusers, and who can become one, are never within reach of a request.
#define LOGIN_ROLE_SQL(role) \
    "DO $$\n" \
    "DECLARE\n" \
    "  r record;\n" \
    "BEGIN\n" \
    "  PERFORM set_config('lock_timeout', '2s', true);\n" /* a migration may hold a role while it waits for its majority */ \
    "  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '" role "') THEN\n" \
    "    CREATE ROLE " role " LOGIN NOINHERIT;\n" \
    "  END IF;\n" \
    "  FOR r IN\n" \
    "    SELECT c.rolname FROM pg_roles c WHERE c.rolname !~ '^pg_' AND c.rolname NOT IN ('" LOGIN_ROLE_READS "', '" LOGIN_ROLE_WRITES "')\n" \
    "      AND NOT EXISTS (SELECT FROM pg_roles s WHERE s.rolsuper AND pg_has_role(c.oid, s.oid, 'MEMBER'))\n" \
    "      AND NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = c.oid AND m.member = '" role "'::regrole)\n" \
    "  LOOP\n" \
    "    EXECUTE format('GRANT %I TO " role "', r.rolname);\n" \
    "  END LOOP;\n" \
    "END $$"

#endif
