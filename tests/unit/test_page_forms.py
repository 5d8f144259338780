"""The forms of the jobs page: only those whose mutations the served schema has with just the input that they send."""

import pytest
from graphql import build_schema, parse, validate

from onward.web.pages import fitting_forms

ANSWERS = """
scalar DateTime
type Query { hello: String }
type Job { id: ID! }
type Error { code: String! message: String! path: [String!] }
type Answer { job: Job replayed: Boolean! errors: [Error!]! }
"""
USUAL = "input RegisterUserInput { username: String! email: String! idempotencyKey: String }"
TAKES = "type Mutation { registerUser(input: RegisterUserInput!): Answer }"


def forms(sdl: str) -> tuple[str, ...]:
    schema = build_schema(ANSWERS + sdl)
    return tuple(fitting_forms(lambda text: str(errors[0]) if (errors := validate(schema, parse(text))) else None))


@pytest.mark.parametrize("more", ["", "nickname: String", 'plan: String! = "free"'])
def test_a_form_is_offered_for_the_mutation_that_it_was_made_for(more: str) -> None:
    assert forms(USUAL.replace("}", f" {more} }}") + TAKES) == ("registerUser",)


@pytest.mark.parametrize(
    "sdl",
    [
        "",
        USUAL.replace("}", " plan: String! }") + TAKES,
        USUAL.replace("username: String! ", "") + TAKES,
        USUAL.replace("email: String!", "email: Int!") + TAKES,
        USUAL.replace("RegisterUserInput", "Registration")
        + "type Mutation { registerUser(input: Registration!): Answer }",
        "type Mutation { registerUser(username: String!, email: String!): Answer }",
        USUAL + "type Mutation { registerUser(input: RegisterUserInput!): Boolean }",
    ],
)
def test_no_form_is_offered_for_a_mutation_of_ones_own_that_takes_something_else(sdl: str) -> None:
    assert forms(sdl) == ()
