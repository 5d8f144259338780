BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE commits (
	n BIGINT NOT NULL
);
INSERT INTO "commits" VALUES(23);
CREATE TABLE counts (
	slot INTEGER NOT NULL, 
	owner TEXT NOT NULL, 
	status TEXT NOT NULL, 
	n BIGINT NOT NULL, 
	PRIMARY KEY (slot, owner, status)
);
INSERT INTO "counts" VALUES(6,'','QUEUED',2);
INSERT INTO "counts" VALUES(6,'','RUNNING',1);
INSERT INTO "counts" VALUES(6,'','SUCCEEDED',1);
INSERT INTO "counts" VALUES(6,'','FAILED',1);
INSERT INTO "counts" VALUES(6,'','RETRYING',1);
INSERT INTO "counts" VALUES(6,'','CANCELLING',1);
INSERT INTO "counts" VALUES(6,'','SCHEDULED',1);
INSERT INTO "counts" VALUES(6,'','CANCELLED',1);
CREATE TABLE idempotency (
	viewer TEXT NOT NULL, 
	mutation TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	reference TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (viewer, mutation, "key")
);
INSERT INTO "idempotency" VALUES('','act','Ann SUCCEEDED','e12bc9c07dcaee6b395ce299c6ac8c2d31abb1b7cb98aa2a27ae651d019aebc6','{"job":"job_01a20c300ee524f62d3724bd4c5872fe"}',1795500805861000);
INSERT INTO "idempotency" VALUES('','act','Ann FAILED','b41b20080d85ea7927f3a9599b41cb03ceaf296993356d5a97366ba09c51cf5f','{"job":"job_01a20c300fd9616b2b8e305f8418d6c1"}',1795500806105000);
INSERT INTO "idempotency" VALUES('','act','Ann RETRYING','969b7f01e6fef444c445db7d22ee01a493d3f5cdee2751df586e9dcb434d1acf','{"job":"job_01a20c30107912cb1895fd877c846e95"}',1795500806265000);
INSERT INTO "idempotency" VALUES('','act','Ann RUNNING','5393c0560fdebac3baf276df8f89792d852a6adc3ecaef37a9400e85e2a2ed12','{"job":"job_01a20c3010d02b05adbaec8ee77c2474"}',1795500806352000);
INSERT INTO "idempotency" VALUES('','act','Ann CANCELLING','35952d084f643f2c707c2f43452049520b365dc2fde7fc6759baeb81245405f3','{"job":"job_01a20c3010dd0fba04e3ef45e2e766ab"}',1795500806365000);
INSERT INTO "idempotency" VALUES('','act','Ann SCHEDULED','14669e1f241593d505fdc8e04cd7a4ac9a3a8575adf3c8e9ae0b3697090443c7','{"job":"job_01a20c30116f54dd00bdfa9880cb2763"}',1795500806511000);
INSERT INTO "idempotency" VALUES('','act','Ann QUEUED','e6db848e5e2a4ea67bca2102b16b3ef90de110343987538bcf3059e6240a5cce','{"job":"job_01a20c30117c00f330d6f50cd33dba4a"}',1795500806524000);
INSERT INTO "idempotency" VALUES('','act','Ann CANCELLED','a58b00e6e87a6e748b09dfcc91fa3280c6365b18dfc6793f219640cbdffd73b7','{"job":"job_01a20c3011996c2a25a77924bc4a71e0"}',1795500806553000);
INSERT INTO "idempotency" VALUES('','registerUser','once','9a8f0f933130b3e7594a8cd1c01a3313abb43bf8a8ac5e44943b6271d39117f0','{"job":"job_01a20c3011ea5d6863f0e93a99ba47cb","user":"user_01a20c3011ea5d6863f0e93a20dffa28"}',1795500806634000);
CREATE TABLE items (
	job_id TEXT NOT NULL, 
	text TEXT NOT NULL, 
	characters INTEGER NOT NULL, 
	words INTEGER NOT NULL, 
	lines INTEGER NOT NULL, 
	sha256 TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (job_id)
);
CREATE TABLE jobs (
	id TEXT NOT NULL, 
	handler TEXT NOT NULL, 
	status TEXT NOT NULL, 
	backend TEXT NOT NULL, 
	owner TEXT, 
	priority SMALLINT NOT NULL, 
	version INTEGER NOT NULL, 
	changed BIGINT NOT NULL, 
	run INTEGER NOT NULL, 
	params TEXT NOT NULL, 
	params_version INTEGER NOT NULL, 
	progress TEXT, 
	steps TEXT NOT NULL, 
	attempts TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	charged INTEGER NOT NULL, 
	max_attempts INTEGER NOT NULL, 
	deaths INTEGER NOT NULL, 
	token INTEGER NOT NULL, 
	runner TEXT, 
	worker TEXT, 
	attempt_started_at BIGINT, 
	delivered_to TEXT, 
	due_at BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	run_at BIGINT, 
	started_at BIGINT, 
	finished_at BIGINT, 
	result TEXT, 
	error TEXT, 
	reason TEXT, 
	trace TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('job_01a20c300ee524f62d3724bd4c5872fe','release.greet','SUCCEEDED','background',NULL,0,3,5,1,'{"name":"Ann SUCCEEDED"}',1,NULL,'[{"n":"greet","s":"SUCCEEDED","b":1795500805937000,"e":1795500806048000,"r":"Good day, Ann SUCCEEDED"}]','[[1,true,"background","host:5072",1795500805937000,1795500806048000,null]]',1,1,5,0,2,NULL,'host:5072',1795500805937000,NULL,1795500806048000,1795500805861000,NULL,1795500805937000,1795500806048000,'"Good day, Ann SUCCEEDED"',NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('job_01a20c300fd9616b2b8e305f8418d6c1','release.refused','FAILED','background',NULL,0,3,8,1,'{"name":"Ann FAILED"}',1,NULL,'[{"n":"refused","s":"FAILED","b":1795500806129000,"e":1795500806211000,"r":null}]','[[1,true,"background","host:5072",1795500806129000,1795500806211000,{"code":"REFUSED","message":"not in this release","retryable":false,"step":"refused","occurred_at":1795500806211000}]]',1,1,5,0,2,NULL,'host:5072',1795500806129000,NULL,1795500806211000,1795500806105000,NULL,1795500806129000,1795500806211000,NULL,'{"code":"REFUSED","message":"not in this release","retryable":false,"step":"refused","occurred_at":1795500806211000}',NULL,NULL);
INSERT INTO "jobs" VALUES('job_01a20c30107912cb1895fd877c846e95','release.later','RETRYING','background',NULL,0,3,11,1,'{"name":"Ann RETRYING"}',1,NULL,'[{"n":"later"}]','[[1,true,"background","host:5072",1795500806299000,1795500806331000,{"code":"UNEXPECTED","message":"the handler failed unexpectedly; the log tells more under this job''s id","retryable":true,"step":"later","occurred_at":1795500806331000}]]',1,1,5,0,2,NULL,'host:5072',1795500806299000,NULL,1795503466818814,1795500806265000,NULL,1795500806299000,NULL,NULL,'{"code":"UNEXPECTED","message":"the handler failed unexpectedly; the log tells more under this job''s id","retryable":true,"step":"later","occurred_at":1795500806331000}',NULL,NULL);
INSERT INTO "jobs" VALUES('job_01a20c3010d02b05adbaec8ee77c2474','release.half','RUNNING','background',NULL,0,3,14,1,'{"name":"Ann RUNNING"}',1,NULL,'[{"n":"first","s":"SUCCEEDED","b":1795500806355000,"e":1795500806356000,"r":"Ann RUNNING, half done"},{"n":"second","s":"PENDING","b":1795500806356000,"e":null,"r":null}]','[]',1,0,5,0,1,'runner_ca00fb191ad9a91a','host:5072',1795500806355000,'runner_ca00fb191ad9a91a',1795500806352000,1795500806352000,NULL,1795500806355000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('job_01a20c3010dd0fba04e3ef45e2e766ab','release.half','CANCELLING','background',NULL,0,4,18,1,'{"name":"Ann CANCELLING"}',1,NULL,'[{"n":"first","s":"SUCCEEDED","b":1795500806367000,"e":1795500806372000,"r":"Ann CANCELLING, half done"},{"n":"second","s":"PENDING","b":1795500806372000,"e":null,"r":null}]','[]',1,0,5,0,1,'runner_ca00fb191ad9a91a','host:5072',1795500806367000,'runner_ca00fb191ad9a91a',1795500806365000,1795500806365000,NULL,1795500806367000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('job_01a20c30116f54dd00bdfa9880cb2763','release.greet','SCHEDULED','background',NULL,0,1,19,1,'{"name":"Ann SCHEDULED"}',1,NULL,'[{"n":"greet"}]','[]',0,0,5,0,0,NULL,NULL,NULL,NULL,1795504406504158,1795500806511000,1795504406504158,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('job_01a20c30117c00f330d6f50cd33dba4a','release.greet','QUEUED','background',NULL,0,1,20,1,'{"name":"Ann QUEUED"}',1,NULL,'[{"n":"greet"}]','[]',0,0,5,0,0,NULL,NULL,NULL,NULL,1795500806524000,1795500806524000,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('job_01a20c3011996c2a25a77924bc4a71e0','release.greet','CANCELLED','background',NULL,0,2,22,1,'{"name":"Ann CANCELLED"}',1,NULL,'[{"n":"greet","s":"SKIPPED","b":null,"e":null,"r":null}]','[]',0,0,5,0,0,NULL,NULL,NULL,NULL,1795500806553000,1795500806553000,NULL,NULL,1795500806585000,NULL,NULL,NULL,NULL);
INSERT INTO "jobs" VALUES('job_01a20c3011ea5d6863f0e93a99ba47cb','email.welcome','QUEUED','background',NULL,0,1,23,1,'{"email":"ann@example.org","username":"ann","known":false}',1,NULL,'[{"n":"welcome"}]','[]',0,0,8,0,0,NULL,NULL,NULL,NULL,1795500806634000,1795500806634000,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE marks (
	writer TEXT NOT NULL, 
	mark TEXT NOT NULL, 
	PRIMARY KEY (writer)
);
CREATE TABLE meta (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('sweep','runner_ca00fb191ad9a91a');
CREATE TABLE runners (
	id TEXT NOT NULL, 
	beat BIGINT NOT NULL, 
	place TEXT NOT NULL, 
	name TEXT NOT NULL, 
	started_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "runners" VALUES('runner_ca00fb191ad9a91a',3,'','host:5072',1795500805286000);
CREATE TABLE users (
	id TEXT NOT NULL, 
	username TEXT NOT NULL, 
	username_key TEXT NOT NULL, 
	email TEXT NOT NULL, 
	email_key TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (email_key), 
	UNIQUE (username_key)
);
INSERT INTO "users" VALUES('user_01a20c3011ea5d6863f0e93a20dffa28','ann','ann','ann@example.org','ann@example.org',1795500806634000);
CREATE INDEX idempotency_age ON idempotency (created_at);
CREATE INDEX jobs_by_handler ON jobs (handler, id);
CREATE INDEX jobs_by_owner ON jobs (owner, id) WHERE owner IS NOT NULL;
CREATE INDEX jobs_by_status ON jobs (status, id);
CREATE INDEX jobs_changed ON jobs (changed);
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_held ON jobs (runner, status) WHERE status IN ('RUNNING', 'CANCELLING');
CREATE INDEX jobs_later ON jobs (due_at) WHERE status IN ('SCHEDULED', 'RETRYING');
CREATE INDEX jobs_queued ON jobs (backend, priority, due_at) WHERE status = 'QUEUED';
COMMIT;
