-- Copyright: (c) 2026, tamshai.phoenix contributors
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Sample data of schema hr: invented people, of whom different users may see different rows.
-- The checks keep the empty string out, which is what an unset user looks like to a policy.
CREATE TABLE employees (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL UNIQUE CHECK (user_id <> ''),
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    department text NOT NULL,
    title text NOT NULL,
    manager_id text REFERENCES employees (user_id) CHECK (manager_id <> ''),
    salary numeric(12, 2),
    hired_on date
);
COMMENT ON TABLE employees IS 'Employees; manager_id is the user_id of whom they report to.';
CREATE INDEX employees_manager ON employees (manager_id);

INSERT INTO employees (user_id, name, email, department, title, manager_id, salary, hired_on) VALUES
    ('eve', 'Eve Thompson', 'eve@tamshai.example', 'executive', 'Chief executive', NULL, 310000, '2015-01-05'),
    ('mona', 'Mona Okafor', 'mona@tamshai.example', 'sales', 'Head of sales', 'eve', 152000, '2017-03-01'),
    ('felix', 'Felix Brandt', 'felix@tamshai.example', 'finance', 'Head of finance', 'eve', 158000, '2016-09-12'),
    ('hanna', 'Hanna Lindqvist', 'hanna@tamshai.example', 'hr', 'Head of people', 'eve', 149000, '2018-02-19'),
    ('alice', 'Alice Chen', 'alice@tamshai.example', 'sales', 'Account manager', 'mona', 84000, '2020-06-15'),
    ('bob', 'Bob Martins', 'bob@tamshai.example', 'sales', 'Account manager', 'mona', 79000, '2021-04-06'),
    ('carol', 'Carol Dubois', 'carol@tamshai.example', 'finance', 'Controller', 'felix', 91000, '2019-11-25'),
    ('dan', 'Dan O''Neill', 'dan@tamshai.example', 'hr', 'Recruiter', 'hanna', 72000, '2022-08-29'),
    ('ines', 'Inés Álvarez', 'ines@tamshai.example', 'finance', 'Accountant', 'carol', 66000, '2023-01-09');
