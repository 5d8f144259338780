import { createClient } from 'graphql-ws';
import { connect } from 'onward-client';
import { urqlOptions, urqlSource } from 'onward-client/urql';
import { Client } from 'urql';

const onward = connect({ url: '/graphql', createClient });
export const client = new Client(urqlOptions(onward));
export const source = urqlSource(client, onward);
