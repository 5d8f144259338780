SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.commits (
    n bigint NOT NULL
);
CREATE TABLE public.counts (
    slot integer NOT NULL,
    owner text NOT NULL,
    status text NOT NULL,
    n bigint NOT NULL
);
CREATE TABLE public.gates (
    handler text NOT NULL,
    paused_at bigint,
    paused_by text,
    concurrency integer,
    starts integer,
    period_us bigint,
    even_at bigint
);
CREATE TABLE public.idempotency (
    viewer text NOT NULL,
    mutation text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    reference text NOT NULL,
    created_at bigint NOT NULL
);
CREATE TABLE public.items (
    job_id text NOT NULL,
    text text NOT NULL,
    characters integer NOT NULL,
    words integer NOT NULL,
    lines integer NOT NULL,
    sha256 text NOT NULL,
    created_at bigint NOT NULL
);
CREATE TABLE public.jobs (
    id text NOT NULL COLLATE pg_catalog."C",
    handler text NOT NULL,
    status text NOT NULL,
    backend text NOT NULL,
    owner text,
    priority smallint NOT NULL,
    version integer NOT NULL,
    changed bigint NOT NULL,
    run integer NOT NULL,
    params text NOT NULL,
    params_version integer NOT NULL,
    progress text,
    steps text NOT NULL,
    attempts text NOT NULL,
    attempt integer NOT NULL,
    charged integer NOT NULL,
    max_attempts integer NOT NULL,
    deaths integer NOT NULL,
    token integer NOT NULL,
    runner text,
    worker text,
    attempt_started_at bigint,
    delivered_to text,
    due_at bigint NOT NULL,
    created_at bigint NOT NULL,
    run_at bigint,
    started_at bigint,
    finished_at bigint,
    result text,
    error text,
    reason text,
    trace text,
    parked text,
    promised integer
);
CREATE TABLE public.marks (
    writer text NOT NULL,
    mark text NOT NULL
);
CREATE TABLE public.meta (
    name text NOT NULL,
    value text NOT NULL
);
CREATE TABLE public.runners (
    id text NOT NULL,
    beat bigint NOT NULL,
    place text NOT NULL,
    name text NOT NULL,
    started_at bigint NOT NULL
);
CREATE TABLE public.schedule (
    name text NOT NULL,
    rule text NOT NULL,
    next_at bigint NOT NULL,
    last_at bigint,
    last_job text
);
CREATE TABLE public.users (
    id text NOT NULL,
    username text NOT NULL,
    username_key text NOT NULL,
    email text NOT NULL,
    email_key text NOT NULL,
    created_at bigint NOT NULL
);
INSERT INTO public.alembic_version VALUES ('0004');
INSERT INTO public.commits VALUES (0);
INSERT INTO public.counts VALUES (2, '', 'SUCCEEDED', 1);
INSERT INTO public.counts VALUES (2, '', 'FAILED', 1);
INSERT INTO public.counts VALUES (2, '', 'RETRYING', 1);
INSERT INTO public.counts VALUES (2, '', 'CANCELLING', 1);
INSERT INTO public.counts VALUES (2, '', 'RUNNING', 1);
INSERT INTO public.counts VALUES (2, '', 'SCHEDULED', 1);
INSERT INTO public.counts VALUES (2, '', 'CANCELLED', 1);
INSERT INTO public.counts VALUES (2, '', 'QUEUED', 2);
INSERT INTO public.idempotency VALUES ('', 'act', 'Ann SUCCEEDED', 'e12bc9c07dcaee6b395ce299c6ac8c2d31abb1b7cb98aa2a27ae651d019aebc6', '{"job":"job_01a2204cab8143ca1c822eef5cda1416"}', 1795838225281634);
INSERT INTO public.idempotency VALUES ('', 'act', 'Ann FAILED', 'b41b20080d85ea7927f3a9599b41cb03ceaf296993356d5a97366ba09c51cf5f', '{"job":"job_01a2204cabaa0061644b50dee6646b89"}', 1795838225322339);
INSERT INTO public.idempotency VALUES ('', 'act', 'Ann RETRYING', '969b7f01e6fef444c445db7d22ee01a493d3f5cdee2751df586e9dcb434d1acf', '{"job":"job_01a2204cabb3559844545db90d09e09e"}', 1795838225331480);
INSERT INTO public.idempotency VALUES ('', 'act', 'Ann RUNNING', '5393c0560fdebac3baf276df8f89792d852a6adc3ecaef37a9400e85e2a2ed12', '{"job":"job_01a2204cabd53d16f891004a0fa91f88"}', 1795838225365325);
INSERT INTO public.idempotency VALUES ('', 'act', 'Ann CANCELLING', '35952d084f643f2c707c2f43452049520b365dc2fde7fc6759baeb81245405f3', '{"job":"job_01a2204cabdd74dfcc3dc026938a08db"}', 1795838225373991);
INSERT INTO public.idempotency VALUES ('', 'act', 'Ann SCHEDULED', '14669e1f241593d505fdc8e04cd7a4ac9a3a8575adf3c8e9ae0b3697090443c7', '{"job":"job_01a2204cac13037c1419534180815a20"}', 1795838225427491);
INSERT INTO public.idempotency VALUES ('', 'act', 'Ann QUEUED', 'e6db848e5e2a4ea67bca2102b16b3ef90de110343987538bcf3059e6240a5cce', '{"job":"job_01a2204cac2211198452b8c9676c0c3d"}', 1795838225442056);
INSERT INTO public.idempotency VALUES ('', 'act', 'Ann CANCELLED', 'a58b00e6e87a6e748b09dfcc91fa3280c6365b18dfc6793f219640cbdffd73b7', '{"job":"job_01a2204cac252d6a994ab54b2281989f"}', 1795838225445274);
INSERT INTO public.idempotency VALUES ('', 'registerUser', 'once', '9a8f0f933130b3e7594a8cd1c01a3313abb43bf8a8ac5e44943b6271d39117f0', '{"job":"job_01a2204cac2e6d98dd70c1019b44ffe1","user":"user_01a2204cac2e6d98dd70c100b63ed4fd"}', 1795838225454133);
INSERT INTO public.jobs VALUES ('job_01a2204cab8143ca1c822eef5cda1416', 'release.greet', 'SUCCEEDED', 'background', NULL, 0, 3, 734, 1, '{"name":"Ann SUCCEEDED"}', 1, NULL, '[{"n":"greet","s":"SUCCEEDED","b":1795838225292289,"e":1795838225299259,"r":"Good day, Ann SUCCEEDED"}]', '[[1,true,"background","there:15500",1795838225292289,1795838225299259,null]]', 1, 1, 5, 0, 2, NULL, 'there:15500', 1795838225292289, NULL, 1795838225299259, 1795838225281634, NULL, 1795838225292289, 1795838225299259, '"Good day, Ann SUCCEEDED"', NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.jobs VALUES ('job_01a2204cabaa0061644b50dee6646b89', 'release.refused', 'FAILED', 'background', NULL, 0, 3, 738, 1, '{"name":"Ann FAILED"}', 1, NULL, '[{"n":"refused","s":"FAILED","b":1795838225324609,"e":1795838225327433,"r":null}]', '[[1,true,"background","there:15500",1795838225324609,1795838225327433,{"code":"REFUSED","message":"not in this release","retryable":false,"step":"refused","occurred_at":1795838225327433}]]', 1, 1, 5, 0, 2, NULL, 'there:15500', 1795838225324609, NULL, 1795838225327433, 1795838225322339, NULL, 1795838225324609, 1795838225327433, NULL, '{"code":"REFUSED","message":"not in this release","retryable":false,"step":"refused","occurred_at":1795838225327433}', NULL, NULL, NULL, NULL);
INSERT INTO public.jobs VALUES ('job_01a2204cabb3559844545db90d09e09e', 'release.later', 'RETRYING', 'background', NULL, 0, 3, 742, 1, '{"name":"Ann RETRYING"}', 1, NULL, '[{"n":"later"}]', '[[1,true,"background","there:15500",1795838225336410,1795838225339808,{"code":"UNEXPECTED","message":"the handler failed unexpectedly; the log tells more under this job''s id","retryable":true,"step":"later","occurred_at":1795838225339808}]]', 1, 1, 5, 0, 2, NULL, 'there:15500', 1795838225336410, NULL, 1795841196871043, 1795838225331480, NULL, 1795838225336410, NULL, NULL, '{"code":"UNEXPECTED","message":"the handler failed unexpectedly; the log tells more under this job''s id","retryable":true,"step":"later","occurred_at":1795838225339808}', NULL, NULL, NULL, NULL);
INSERT INTO public.jobs VALUES ('job_01a2204cabd53d16f891004a0fa91f88', 'release.half', 'RUNNING', 'background', NULL, 0, 3, 747, 1, '{"name":"Ann RUNNING"}', 1, NULL, '[{"n":"first","s":"SUCCEEDED","b":1795838225370036,"e":1795838225376496,"r":"Ann RUNNING, half done"},{"n":"second","s":"PENDING","b":1795838225376496,"e":null,"r":null}]', '[]', 1, 0, 5, 0, 1, 'runner_778d5805c916c7f8', 'there:15500', 1795838225370036, 'runner_778d5805c916c7f8', 1795838225365325, 1795838225365325, NULL, 1795838225370036, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.jobs VALUES ('job_01a2204cabdd74dfcc3dc026938a08db', 'release.half', 'CANCELLING', 'background', NULL, 0, 4, 750, 1, '{"name":"Ann CANCELLING"}', 1, NULL, '[{"n":"first","s":"SUCCEEDED","b":1795838225379277,"e":1795838225381341,"r":"Ann CANCELLING, half done"},{"n":"second","s":"PENDING","b":1795838225381341,"e":null,"r":null}]', '[]', 1, 0, 5, 0, 1, 'runner_778d5805c916c7f8', 'there:15500', 1795838225379277, 'runner_778d5805c916c7f8', 1795838225373991, 1795838225373991, NULL, 1795838225379277, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.jobs VALUES ('job_01a2204cac13037c1419534180815a20', 'release.greet', 'SCHEDULED', 'background', NULL, 0, 1, 751, 1, '{"name":"Ann SCHEDULED"}', 1, NULL, '[{"n":"greet"}]', '[]', 0, 0, 5, 0, 0, NULL, NULL, NULL, NULL, 1795841825425927, 1795838225427491, 1795841825425927, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.jobs VALUES ('job_01a2204cac2211198452b8c9676c0c3d', 'release.greet', 'QUEUED', 'background', NULL, 0, 1, 752, 1, '{"name":"Ann QUEUED"}', 1, NULL, '[{"n":"greet"}]', '[]', 0, 0, 5, 0, 0, NULL, NULL, NULL, NULL, 1795838225442056, 1795838225442056, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.jobs VALUES ('job_01a2204cac252d6a994ab54b2281989f', 'release.greet', 'CANCELLED', 'background', NULL, 0, 2, 754, 1, '{"name":"Ann CANCELLED"}', 1, NULL, '[{"n":"greet","s":"SKIPPED","b":null,"e":null,"r":null}]', '[]', 0, 0, 5, 0, 0, NULL, NULL, NULL, NULL, 1795838225445274, 1795838225445274, NULL, NULL, 1795838225447827, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.jobs VALUES ('job_01a2204cac2e6d98dd70c1019b44ffe1', 'email.welcome', 'QUEUED', 'background', NULL, 0, 1, 755, 1, '{"email":"ann@example.org","username":"ann","known":false}', 1, NULL, '[{"n":"welcome"}]', '[]', 0, 0, 8, 0, 0, NULL, NULL, NULL, NULL, 1795838225454133, 1795838225454133, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.marks VALUES ('62ff5a19dc75064b', '1795838225/cca0ced09444a379');
INSERT INTO public.meta VALUES ('sweep', 'runner_778d5805c916c7f8');
INSERT INTO public.runners VALUES ('runner_778d5805c916c7f8', 2, '', 'there:15500', 1795838225240879);
INSERT INTO public.users VALUES ('user_01a2204cac2e6d98dd70c100b63ed4fd', 'ann', 'ann', 'ann@example.org', 'ann@example.org', 1795838225454133);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.counts
    ADD CONSTRAINT counts_pkey PRIMARY KEY (slot, owner, status);
ALTER TABLE ONLY public.gates
    ADD CONSTRAINT gates_pkey PRIMARY KEY (handler);
ALTER TABLE ONLY public.idempotency
    ADD CONSTRAINT idempotency_pkey PRIMARY KEY (viewer, mutation, key);
ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_pkey PRIMARY KEY (job_id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.marks
    ADD CONSTRAINT marks_pkey PRIMARY KEY (writer);
ALTER TABLE ONLY public.meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.runners
    ADD CONSTRAINT runners_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.schedule
    ADD CONSTRAINT schedule_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_email_key_key UNIQUE (email_key);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_username_key_key UNIQUE (username_key);
CREATE INDEX idempotency_age ON public.idempotency USING btree (created_at);
CREATE INDEX jobs_at_gate ON public.jobs USING btree (handler, priority, due_at) WHERE ((status = 'QUEUED'::text) AND (parked IS NOT NULL));
CREATE INDEX jobs_by_handler ON public.jobs USING btree (handler, id);
CREATE INDEX jobs_by_owner ON public.jobs USING btree (owner, id) WHERE (owner IS NOT NULL);
CREATE INDEX jobs_by_status ON public.jobs USING btree (status, id);
CREATE INDEX jobs_changed ON public.jobs USING btree (changed);
CREATE INDEX jobs_finished ON public.jobs USING btree (finished_at) WHERE (finished_at IS NOT NULL);
CREATE INDEX jobs_held ON public.jobs USING btree (runner, status, handler) WHERE (status = ANY (ARRAY['RUNNING'::text, 'CANCELLING'::text]));
CREATE INDEX jobs_later ON public.jobs USING btree (due_at) WHERE (status = ANY (ARRAY['SCHEDULED'::text, 'RETRYING'::text]));
CREATE INDEX jobs_promised ON public.jobs USING btree (handler) WHERE ((status = 'QUEUED'::text) AND (promised = token));
CREATE INDEX jobs_ready ON public.jobs USING btree (backend, priority, due_at) WHERE ((status = 'QUEUED'::text) AND (parked IS NULL));
